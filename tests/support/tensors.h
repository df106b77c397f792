// Tensors to test with, and the comparison of two results element by element.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>

#include "tensor/tensor.h"

namespace velatura::testing {

/// Uniform in [-1, 1), the same for the same seed everywhere, rounded to `type` (a floating one, f8
/// excepted). Bounded values keep every row's norm within √3 of its expectation, which the
/// tolerances of op tests rely on.
Tensor uniform_tensor(const Shape& shape, DType type, std::uint64_t seed);

/// Distance from 1 to the next value of the type, f32 or bf16 or f16.
double epsilon_of(DType type);

/// |actual − expected| <= absolute + relative · |expected|.
struct Tolerance {
  double absolute = 0;
  double relative = 0;
};

/// Passes when every element is within the tolerance and finite, and shapes and types agree; else
/// names the worst element with both values and how many times its allowance it is off.
::testing::AssertionResult within(const Tensor& actual, const Tensor& expected,
                                  const Tolerance& tolerance);

/// Shape, type and every byte agree; else names the first differing element.
::testing::AssertionResult bit_identical(const Tensor& actual, const Tensor& expected);

}  // namespace velatura::testing
