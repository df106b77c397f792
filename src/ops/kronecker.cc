#include "ops/kronecker.h"

#include "ops/check.h"

namespace velatura::ops {

namespace {

void check(std::string_view op, const Tensor& x, const Weight& w1, const Weight& w2, int w2_axes,
           const Tensor& scale, const Tensor& y) {
  expect_compute_type(op, x);
  expect_compute_type(op, y);
  if (x.rank() < 1 || y.rank() < 1) fail(ErrorKind::mismatch, "{}: x or y has no axis", op);
  if (w1.shape().rank() != 2 || w2.shape().rank() != w2_axes ||
      w1.shape()[1] * w2.shape()[1] != x.size(-1) || w1.shape()[0] * w2.shape()[0] != y.size(-1)) {
    fail(ErrorKind::mismatch, "{}: w1 {} and w2 {} do not fit a layer of {} inputs and {} outputs",
         op, w1.shape().to_string(), w2.shape().to_string(), x.size(-1), y.size(-1));
  }
  expect_present(op, "scale", scale);
  expect_f32_vector(op, "scale", scale, 1);
  if (x.dtype() != y.dtype()) fail(ErrorKind::internal, "{}: x and y differ in type", op);
}

bool nothing_to_do(const Tensor& x, const Tensor& y) {
  return y.count() == 0 || x.size(-1) == 0;
}

}  // namespace

void kronecker_update(Context& context, const Tensor& x, const Weight& w1, const Weight& w2,
                      const Tensor& scale, Tensor& y) {
  check("kronecker_update", x, w1, w2, 2, scale, y);
  expect_shape("kronecker_update", "y", y.shape(), with_last(x.shape(), y.size(-1)));
  if (nothing_to_do(x, y)) return;
  context.table().kronecker_update(x, w1, w2, scale, nullptr, y);
}

void kronecker_conv_update(Context& context, const Tensor& x, const Weight& w1, const Weight& w2,
                           const Tensor& scale, const ConvGeometry& geometry, Tensor& y) {
  check("kronecker_conv_update", x, w1, w2, 4, scale, y);
  const Shape kernel{y.size(-1), x.size(-1), w2.shape()[2], w2.shape()[3]};
  expect_shape("kronecker_conv_update", "y", y.shape(), conv2d_shape(x.shape(), kernel, geometry));
  if (nothing_to_do(x, y)) return;
  context.table().kronecker_update(x, w1, w2, scale, &geometry, y);
}

}  // namespace velatura::ops
