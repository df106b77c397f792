// One op on the cpu backend and on the reference, for every case of its shape list and every
// compute type. Tolerances are derived beside each op from the numbers here; inputs are uniform in
// [-1, 1). Header-only, for tests of rooms that link both backends.
#pragma once

#include <gtest/gtest.h>

#include <concepts>
#include <string>
#include <vector>

#include "backend/cpu/cpu.h"
#include "backend/reference/reference.h"
#include "ops/context.h"
#include "tests/support/shapes.h"
#include "tests/support/tensors.h"

namespace velatura::testing {

/// Standard deviation of the inputs.
constexpr double kInputDeviation = 0.57735026918962576;  // 1 / √3

/// How many standard deviations of a rounding error the worst of some 10⁵ elements may show.
constexpr double kWorst = 6;

/// f32, and bf16 where this machine can compute with it.
inline std::vector<DType> compute_types() {
  if (backend::cpu::cpu_features().avx512) return {DType::f32, DType::bf16};
  return {DType::f32};
}

/// A backend with a workspace.
class Side {
 public:
  Side(std::unique_ptr<ops::OpTable> table, DType compute)
      : table_(std::move(table)), context_(*table_, workspace_, compute) {}
  ops::Context& context() { return context_; }

 private:
  std::unique_ptr<ops::OpTable> table_;
  Workspace workspace_;
  ops::Context context_;
};

/// Calls `op(context)`, which returns a Tensor, on both backends and compares.
template <std::invocable<ops::Context&> Op>
void expect_agreement(DType compute, const Tolerance& tolerance, const Op& op) {
  Side cpu(backend::cpu::make_cpu_backend(), compute);
  Side reference(backend::reference::make_reference_backend(), compute);
  EXPECT_TRUE(within(op(cpu.context()), op(reference.context()), tolerance));
}

/// Runs `test(shape, type)` for every case of the op's list with every compute type, naming the
/// case in what fails.
template <std::invocable<const ShapeCase&, DType> Test>
void for_each_case(std::string_view op, const Test& test) {
  const std::vector<ShapeCase> cases = test_shapes(op);
  ASSERT_FALSE(cases.empty());
  for (const ShapeCase& shape : cases) {
    for (const DType type : compute_types()) {
      SCOPED_TRACE(std::string(op) + " " + std::string(to_string(type)) + ": " + shape.text);
      test(shape, type);
    }
  }
}

/// What one rounding of the result to its type may make of two nearly equal values: neighbours.
inline double result_rounding(DType type) {
  return type == DType::f32 ? 4 * epsilon_of(type) : epsilon_of(type);
}

}  // namespace velatura::testing
