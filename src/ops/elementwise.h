// Small ops that move or combine whole tensors.
#pragma once

#include "tensor/tensor.h"

namespace velatura::ops {

class Context;

/// a + scale · b; same shape and type.
Tensor scaled_add(Context& context, const Tensor& a, const Tensor& b, float scale);
inline Tensor add(Context& context, const Tensor& a, const Tensor& b) {
  return scaled_add(context, a, b, 1.0f);
}

/// Zeros in the compute type, from the context's memory: what a delta that has to be masked is
/// added to.
Tensor zeros(Context& context, const Shape& shape);

/// y += scale · delta, in place; same shape and type.
void add_scaled(Context& context, const Tensor& delta, float scale, Tensor& y);

/// y[row, :] += scale · mask[row] · delta[row, :], in place; delta has y's shape and type, rows are
/// all axes but the last. mask f32 of any shape, one value a row; a mask of fewer values repeats
/// from the start as often as needed (one picture's mask for a batch), so its count divides that of
/// the rows. Where the mask is 0, y keeps every bit.
void masked_add(Context& context, const Tensor& delta, const Tensor& mask, float scale, Tensor& y);

/// [N, H, W, A] and [N, H, W, B] → [N, H, W, A + B].
Tensor concat_channels(Context& context, const Tensor& a, const Tensor& b);

/// [N, H, W, C] → [N, height, width, C] with y(i, j) = x(i / 2, j / 2): each pixel four times. The
/// last row and column may be left out (height 2H or 2H − 1), as a UNet needs whose skip
/// connections have odd extents.
Tensor upsample_nearest_2x(Context& context, const Tensor& x, std::int64_t height,
                           std::int64_t width);
inline Tensor upsample_nearest_2x(Context& context, const Tensor& x) {
  return upsample_nearest_2x(context, x, 2 * x.size(1), 2 * x.size(2));
}

/// Rows of `table` [V, C] (any floating type) for ids i64 [...] → [..., C] in the compute type. An
/// id outside the table is an invalid_argument.
Tensor embedding(Context& context, const Tensor& table, const Tensor& ids);

/// Element-wise conversion between f32, f16 and bf16; the tensor itself where nothing changes.
Tensor cast(Context& context, const Tensor& x, DType type);

/// f32 [N, C, H, W] → compute type [N, H, W, C], and back to f32.
Tensor nchw_to_nhwc(Context& context, const Tensor& x);
Tensor nhwc_to_nchw(Context& context, const Tensor& x);

}  // namespace velatura::ops
