// Scaled dot-product attention over heads.
#pragma once

#include "tensor/tensor.h"

namespace velatura::ops {

class Context;

struct AttentionArgs {
  int heads = 1;
  bool causal = false;  ///< token i sees tokens 0…i (text encoders)
  float scale = 0;      ///< 0 means 1/√(width of a head)
};

/// q [N, Lq, heads·d], k and v [N, Lk, heads·d] → [N, Lq, heads·d]: softmax(scale · q·kᵀ)·v for
/// each head. Tiled with an online softmax: no Lq × Lk matrix exists (Milakov & Gimelshein 2018;
/// Dao 2022).
Tensor attention(Context& context, const Tensor& q, const Tensor& k, const Tensor& v,
                 const AttentionArgs& args);

}  // namespace velatura::ops
