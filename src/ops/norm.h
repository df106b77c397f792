// Normalisations. Statistics are f32 whatever the type of the activations.
#pragma once

#include "ops/activation.h"
#include "tensor/tensor.h"

namespace velatura::ops {

class Context;

struct GroupNormArgs {
  const Tensor& gamma;  ///< f32 [C]
  const Tensor& beta;   ///< f32 [C]
  int groups = 32;
  float epsilon = 1e-5f;
  Activation activation = Activation::none;  ///< applied to the result: none or silu
  const Tensor* channel_add =
      nullptr;  ///< [N, C] in x's type, added to x before the statistics (time embedding)
};

/// x [N, H, W, C] → same shape: per picture and group of C / groups neighbouring channels (Wu & He
/// 2018), variance biased as in PyTorch.
Tensor group_norm(Context& context, const Tensor& x, const GroupNormArgs& args);

/// x [..., C], gamma and beta f32 [C] → same shape.
Tensor layer_norm(Context& context, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                  float epsilon);

}  // namespace velatura::ops
