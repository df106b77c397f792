// How strongly an adapter changes each block of a model: Frobenius norms of ΔW, through the factors
// where a kind has them. Not here: which layer is in which block (strength/block_weights.h).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/stop_token.h"
#include "lora/bind/bind.h"

namespace velatura::lora::tools {

struct BlockNorm {
  std::string component;  ///< "unet", "te"
  std::string name;       ///< "IN04"; "other" for layers that no list of block weights covers
  int layers = 0;
  double squares = 0;       ///< ‖ΔW‖² over the block's adapted layers, at strength 1
  double base_squares = 0;  ///< ‖W‖² of these layers; 0 where no weights are known

  double norm() const;
  double relative() const;  ///< ‖ΔW‖ / ‖W‖; 0 where no weights are known
};

struct BlockMap {
  std::vector<BlockNorm> blocks;  ///< adapted ones, in the order of lists of block weights
  bool is_relative = false;
  int unknown = 0;  ///< layers left out: their kind depends on weights that are not known
};

/// ‖ΔW‖² of one layer at strength 1. ‖s·B·A‖² = s²·tr((BᵀB)(AAᵀ)), ‖s·w1⊗w2‖ = s·‖w1‖·‖w2‖; other
/// kinds make their dense change. `base` as in ModuleDelta::weight_change.
double squared_norm(const ModuleDelta& delta, const Pristine& base);

/// Layers in parallel; dense changes one at a time, so that memory is bounded by the largest layer.
/// Throws cancelled.
BlockMap block_map(const BoundAdapter& adapter, std::span<const Component> components,
                   StopToken stop = {});

}  // namespace velatura::lora::tools
