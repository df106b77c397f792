// What the free functions share when they check their arguments. Not for backends.
#pragma once

#include <string_view>

#include "base/error.h"
#include "ops/context.h"

namespace velatura::ops {

/// A wrong shape here is a mismatch between a model and what it was given: the message names op,
/// argument, both shapes.
inline void expect_shape(std::string_view op, std::string_view argument, const Shape& found,
                         const Shape& expected) {
  if (found == expected) return;
  fail(ErrorKind::mismatch, "{}: {} has shape {}, expected {}", op, argument, found.to_string(),
       expected.to_string());
}

inline void expect_compute_type(std::string_view op, const Tensor& x) {
  if (x.dtype() == DType::f32 || x.dtype() == DType::bf16) return;
  fail(ErrorKind::unsupported, "{}: activations are f32 or bf16, found {}", op,
       to_string(x.dtype()));
}

inline void expect_present(std::string_view op, std::string_view argument, const Tensor& tensor) {
  if (!tensor.defined()) fail(ErrorKind::internal, "{}: {} is missing", op, argument);
}

/// f32 [size], or absent.
inline void expect_f32_vector(std::string_view op, std::string_view argument, const Tensor& vector,
                              std::int64_t size) {
  if (!vector.defined()) return;
  if (vector.dtype() != DType::f32) fail(ErrorKind::internal, "{}: {} must be f32", op, argument);
  expect_shape(op, argument, vector.shape(), Shape{size});
}

inline void expect_like(std::string_view op, std::string_view argument, const Tensor* found,
                        const Shape& shape, DType type) {
  if (found == nullptr) return;
  expect_shape(op, argument, found->shape(), shape);
  if (found->dtype() != type) {
    fail(ErrorKind::internal, "{}: {} is {}, expected {}", op, argument, to_string(found->dtype()),
         to_string(type));
  }
}

/// `shape` with its innermost extent replaced.
inline Shape with_last(const Shape& shape, std::int64_t last) {
  std::array<std::int64_t, Shape::kMaxRank> extents{};
  for (int axis = 0; axis < shape.rank(); ++axis)
    extents[static_cast<std::size_t>(axis)] = shape[axis];
  extents[static_cast<std::size_t>(shape.rank() - 1)] = last;
  return Shape(std::span(extents.data(), static_cast<std::size_t>(shape.rank())));
}

}  // namespace velatura::ops
