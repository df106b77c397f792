// The two sums that linear, conv2d and low_rank share: a row, and a window of a picture, times a
// weight. The output channel is the innermost loop, so that it vectorises without reordering a sum.
#pragma once

#include <cstdint>

#include "ops/conv2d.h"
#include "ops/linear.h"

namespace velatura::backend::reference {

/// The weight as f32 with outputs innermost: [out, rest…] → [rest…, out]. Kept by the weight.
const float* outputs_innermost(const ops::Weight& weight);

/// sums[o] += Σ_k row[k] · weight[k][o], k ascending.
void accumulate_row(const float* row, std::int64_t in, const float* weight, std::int64_t out,
                    float* sums);

/// Where a convolution's window lies and what it reads.
struct Window {
  const float* picture;  ///< [H, W, in], one picture of the batch
  std::int64_t height, width;
  std::int64_t top, left;  ///< of the window, may lie outside the picture: zeros are read there
};

/// The window that output pixel `pixel` of y (counted through the batch) reads of x (f32).
Window window_of(const Tensor& x, const ops::ConvGeometry& geometry, const Tensor& y,
                 std::int64_t pixel);

/// sums[o] += the window times `weight` (outputs innermost; `shape` is the original [out, in, kh,
/// kw]).
void accumulate_window(const Window& window, const float* weight, const Shape& shape, float* sums);

/// sums → y = activation(sums + bias) + residual, for one row of y. bias and residual may be null.
void finish_row(float* sums, std::int64_t out, const float* bias, ops::Activation activation,
                const float* residual);

}  // namespace velatura::backend::reference
