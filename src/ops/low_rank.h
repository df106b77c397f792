// The live form of LoRA: a pair of thin products added to a layer's output.
#pragma once

#include "ops/conv2d.h"

namespace velatura::ops {

/// y += ((x · downᵀ) ∘ scales) · upᵀ, in place. x [..., in], down [r, in], scales f32 [r], up [out, r], y [..., out].
/// Several adapters are one call: their ranks stacked, each one's strength · alpha / rank in its part of `scales`.
void low_rank_update(Context& context, const Tensor& x, const Weight& down, const Tensor& scales, const Weight& up,
                     Tensor& y);

/// The same for a convolution: down [r, in, kh, kw] carries the base layer's geometry, up is [out, r].
void low_rank_conv_update(Context& context, const Tensor& x, const Weight& down, const Tensor& scales, const Weight& up,
                          const ConvGeometry& geometry, Tensor& y);

}  // namespace velatura::ops
