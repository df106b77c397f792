// Small ops that move or combine whole tensors.
#pragma once

#include "tensor/tensor.h"

namespace velatura::ops {

class Context;

/// a + scale · b; same shape and type.
Tensor scaled_add(Context& context, const Tensor& a, const Tensor& b, float scale);
inline Tensor add(Context& context, const Tensor& a, const Tensor& b) { return scaled_add(context, a, b, 1.0f); }

/// [N, H, W, A] and [N, H, W, B] → [N, H, W, A + B].
Tensor concat_channels(Context& context, const Tensor& a, const Tensor& b);

/// [N, H, W, C] → [N, 2H, 2W, C], each pixel four times.
Tensor upsample_nearest_2x(Context& context, const Tensor& x);

/// Rows of `table` [V, C] (any floating type) for ids i64 [...] → [..., C] in the compute type. An id outside the
/// table is an invalid_argument.
Tensor embedding(Context& context, const Tensor& table, const Tensor& ids);

/// Element-wise conversion between f32, f16 and bf16; the tensor itself where nothing changes.
Tensor cast(Context& context, const Tensor& x, DType type);

/// f32 [N, C, H, W] → compute type [N, H, W, C], and back to f32.
Tensor nchw_to_nhwc(Context& context, const Tensor& x);
Tensor nhwc_to_nchw(Context& context, const Tensor& x);

}  // namespace velatura::ops
