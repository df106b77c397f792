// The live form of LoRA: a pair of thin products added to a layer's output.
#pragma once

#include <optional>
#include <span>

#include "ops/conv2d.h"

namespace velatura::ops {

/// y += ((x · downᵀ) ∘ scales) · upᵀ, in place. x [..., in], down [r, in], scales f32 [r], up [out,
/// r], y [..., out]. Several adapters are one call: their ranks stacked, each one's strength ·
/// alpha / rank in its part of `scales`.
void low_rank_update(Context& context, const Tensor& x, const Weight& down, const Tensor& scales,
                     const Weight& up, Tensor& y);

/// The same for a convolution: down [r, in, kh, kw] carries the base layer's geometry, up is [out,
/// r].
void low_rank_conv_update(Context& context, const Tensor& x, const Weight& down,
                          const Tensor& scales, const Weight& up, const ConvGeometry& geometry,
                          Tensor& y);

/// The stacked adapters of one linear layer, as low_rank_update takes them.
struct LowRank {
  const Weight& down;
  const Tensor& scales;
  const Weight& up;
};

/// A layer with its live adapters in one: y = activation(x·Wᵀ + bias + ((x·downᵀ) ∘ scales)·upᵀ) +
/// residual. In f32 the same as linear, low_rank_update and what follows; in bf16 a backend may
/// merge the adapters into a copy of the weight that lives for this call where that is less work,
/// with an error of the size of bf16's rounding of weights.
Tensor linear_low_rank(Context& context, const Tensor& x, const Weight& weight, const Tensor& bias,
                       const LowRank& low_rank, const Epilogue& epilogue = {});

/// Rows [begin, end) of axis 0 of a linear layer with parameters and ranks of their own.
struct LowRankRows {
  std::int64_t begin = 0, end = 0;
  const Weight* weight = nullptr;
  const Tensor* bias = nullptr;     ///< may be absent inside
  std::optional<LowRank> low_rank;  ///< none: the plain product
};

/// linear_low_rank for each range of rows, into one y; the ranges cover axis 0 of x in ascending
/// order. No product is done twice and y is written once. nullopt, with nothing to see of it, where
/// the backend has no faster way than a product for all rows and low_rank_update for each range, or
/// where an activation waits for the sum.
std::optional<Tensor> linear_low_rank(Context& context, const Tensor& x,
                                      std::span<const LowRankRows> rows,
                                      const Epilogue& epilogue = {});

}  // namespace velatura::ops
