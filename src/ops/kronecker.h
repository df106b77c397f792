// The live form of LoKr: an update whose matrix is a Kronecker product, applied by its two factors.
// The product itself is never built.
#pragma once

#include "ops/conv2d.h"

namespace velatura::ops {

/// y += scale · x · (w1 ⊗ w2)ᵀ, in place. x [..., in_m · in_n], w1 [out_l, in_m], w2 [out_k, in_n],
/// scale f32 [1], y [..., out_l · out_k] in x's type: with one row of x seen as [in_m, in_n] and of
/// y as [out_l, out_k], y[l, k] += scale · Σ_m w1[l, m] · Σ_n w2[k, n] · x[m, n]. Sums are f32; in
/// bf16 the factors and what stands between the two sums are rounded to bf16, as low_rank_update
/// does. Which sum comes first is the backend's choice, by the shapes alone.
void kronecker_update(Context& context, const Tensor& x, const Weight& w1, const Weight& w2,
                      const Tensor& scale, Tensor& y);

/// The same for a convolution: w2 [out_k, in_n, kh, kw] carries the base layer's geometry, w1
/// stands over its kernel as 1×1. x [N, H, W, in_m · in_n], y [N, H', W', out_l · out_k].
void kronecker_conv_update(Context& context, const Tensor& x, const Weight& w1, const Weight& w2,
                           const Tensor& scale, const ConvGeometry& geometry, Tensor& y);

/// What both take, without tensors: the extents of one row. `in_n` counts a kernel's taps, too.
struct KroneckerShape {
  std::int64_t out_l = 0, in_m = 0, out_k = 0, in_n = 0;
  /// Multiplications a row of y with w2's sum first, and with w1's.
  std::int64_t inner_first() const { return in_m * out_k * (in_n + out_l); }
  std::int64_t outer_first() const { return out_l * in_n * (in_m + out_k); }
  std::int64_t multiplications() const {
    return inner_first() < outer_first() ? inner_first() : outer_first();
  }
  static KroneckerShape of(const Weight& w1, const Weight& w2) {
    const std::int64_t out_k = w2.shape()[0];
    return {.out_l = w1.shape()[0],
            .in_m = w1.shape()[1],
            .out_k = out_k,
            .in_n = out_k == 0 ? 0 : w2.shape().count() / out_k};
  }
};

}  // namespace velatura::ops
