// Convolution of channels-last pictures.
#pragma once

#include "ops/linear.h"

namespace velatura::ops {

/// The same stride in both directions, zero padding per side.
struct ConvGeometry {
  int stride = 1;
  int pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  static ConvGeometry same(int kernel) {
    const int pad = kernel / 2;
    return {.stride = 1, .pad_top = pad, .pad_left = pad, .pad_bottom = pad, .pad_right = pad};
  }
};

/// [N, H, W, in] → the output shape for a kernel of kh × kw and `out` channels.
Shape conv2d_shape(const Shape& x, const Shape& weight, const ConvGeometry& geometry);

/// x [N, H, W, in], weight [out, in, kh, kw] (PyTorch's order, correlation: no flip), bias f32
/// [out] or absent → [N, H', W', out] in x's type.
Tensor conv2d(Context& context, const Tensor& x, const Weight& weight, const Tensor& bias,
              const ConvGeometry& geometry, const Epilogue& epilogue = {});

}  // namespace velatura::ops
