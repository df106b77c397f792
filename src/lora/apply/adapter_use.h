// What a job asks of one adapter: how strong, where and when it acts. Not here: how that is done
// (adapter_set.h), how it is written in a prompt (strength/, pipelines/prompt).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "lora/bind/bind.h"
#include "lora/strength/schedule.h"

namespace velatura::lora {

/// A factor for each module of one component, by LayerId; what block weights give. Finite.
using LayerFactors = std::vector<float>;

/// One adapter with its strengths. What it does to a layer at a moment is its change at
///   strength of the component × factor of the layer × factor of the schedule.
/// Any finite number is legal; 0 has no effect at all.
struct AdapterUse {
  std::shared_ptr<const BoundAdapter> adapter;
  float denoiser = 1;
  float text = 1;              ///< of the text encoders, but for those given below
  std::int64_t ranks = 0;      ///< use the first so many ranks only (A1111's dyn=); 0: all
  std::optional<float> te2{};  ///< of SDXL's second text encoder
  std::optional<float> t5{};   ///< of FLUX.1's T5
  /// By component, as the model lists them; a missing or null entry: 1 for every layer.
  std::vector<std::shared_ptr<const LayerFactors>> factors{};
  /// Of the denoiser alone: text encoders run before the first step, with factor 1.
  Schedule schedule{};
  /// Where on the picture it acts, f32 [H, W] in 0 … 1, of any resolution, feathered by whoever
  /// made it; absent: everywhere. The denoiser's picture tokens get mask ⊙ Δy; what sees no picture
  /// tokens (time and text projections) and norms get nothing; text encoders know no region. A mask
  /// of ones alone is no mask, to the bit.
  Tensor region{};

  float strength(weights::Part part) const;
  /// strength(part) × the layer's factor.
  float strength(weights::Part part, std::size_t component, nn::LayerId layer) const;
};

/// Throws invalid_argument naming the adapter: a strength, factor or schedule that is not finite,
/// ranks below 0, a mask that is no matrix of numbers in 0 … 1.
void check(const AdapterUse& use);

/// By content hash, then by all else: an order that does not depend on how they were named. Uses
/// that differ in nothing but strengths are one, with the sum of their strengths; masks of ones
/// alone are taken away.
std::vector<AdapterUse> in_fixed_order(std::vector<AdapterUse> named);

}  // namespace velatura::lora
