// The one piece of arithmetic samplers are made of: sums of scaled latents.
#pragma once

#include <initializer_list>

#include "tensor/tensor.h"

namespace velatura::diffusion {

struct Term {
  double factor;
  const Tensor& tensor;
};

/// factor_0 * tensor_0 + factor_1 * tensor_1 + …, a fresh f32 tensor, summed in double and rounded
/// once. All tensors f32 of one shape (checked: mismatch). Latents are small; this never shows in a
/// profile beside a model.
Tensor combine(std::initializer_list<Term> terms);

}  // namespace velatura::diffusion
