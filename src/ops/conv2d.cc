#include "ops/conv2d.h"

#include "ops/check.h"

namespace velatura::ops {

Shape conv2d_shape(const Shape& x, const Shape& weight, const ConvGeometry& geometry) {
  if (x.rank() != 4 || weight.rank() != 4 || x[3] != weight[1]) {
    fail(ErrorKind::mismatch, "conv2d: input {} (channels last) does not fit weight {}",
         x.to_string(), weight.to_string());
  }
  if (geometry.stride < 1 || geometry.pad_top < 0 || geometry.pad_left < 0 ||
      geometry.pad_bottom < 0 || geometry.pad_right < 0) {
    fail(ErrorKind::mismatch,
         "conv2d: stride {} and padding {} {} {} {} (top, left, bottom, right) make no geometry",
         geometry.stride, geometry.pad_top, geometry.pad_left, geometry.pad_bottom,
         geometry.pad_right);
  }
  const std::int64_t height = x[1] + geometry.pad_top + geometry.pad_bottom - weight[2];
  const std::int64_t width = x[2] + geometry.pad_left + geometry.pad_right - weight[3];
  if (height < 0 || width < 0) {
    fail(ErrorKind::mismatch, "conv2d: input {} is smaller than the kernel {}", x.to_string(),
         weight.to_string());
  }
  return {x[0], height / geometry.stride + 1, width / geometry.stride + 1, weight[0]};
}

Tensor conv2d(Context& context, const Tensor& x, const Weight& weight, const Tensor& bias,
              const ConvGeometry& geometry, const Epilogue& epilogue) {
  expect_compute_type("conv2d", x);
  Tensor y = context.allocate(conv2d_shape(x.shape(), weight.shape(), geometry), x.dtype());
  expect_f32_vector("conv2d", "bias", bias, weight.shape()[0]);
  expect_like("conv2d", "residual", epilogue.residual, y.shape(), y.dtype());
  if (y.count() > 0) context.table().conv2d(x, weight, bias, geometry, epilogue, y);
  return y;
}

}  // namespace velatura::ops
