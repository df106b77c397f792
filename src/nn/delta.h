// Where adapters plug into layers. A layer holds an id; the run's AdapterSet answers with what is
// to be changed there. Not here: files, names, algorithms (lora/).
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "nn/module_tree.h"
#include "ops/low_rank.h"

namespace velatura::nn {

struct Run;

/// Something added to a layer's output while it runs; the base weight stays untouched.
class LayerDelta {
 public:
  virtual ~LayerDelta() = default;
  /// y += Δ(x), in place, before the layer's activation. `x` and `y` are the layer's input and
  /// output, or the same rows of both.
  virtual void add_to(Run& run, const Tensor& x, Tensor& y) const = 0;
  /// Where all that add_to does to a linear layer is low_rank_update with these: a layer whose only
  /// delta this is may compute both at once.
  virtual std::optional<ops::LowRank> low_rank() const { return std::nullopt; }
};

/// What is used in place of a layer's own weight.
class StandIn {
 public:
  virtual ~StandIn() = default;
  /// Shaped as the layer's own; never null. Made on the first call and kept, or made on every call
  /// where memory is short: hold the pointer while the layer runs. Thread-safe.
  virtual std::shared_ptr<const ops::Weight> weight() const = 0;
};

/// All that changes at one layer. `weight` and `bias` stand in for the layer's own; `deltas` are
/// applied in order. Norms and embeddings take no deltas.
struct LayerPatch {
  std::shared_ptr<const StandIn> weight;  ///< null: the layer's own
  Tensor bias;                            ///< f32; absent: the layer's own
  std::vector<std::shared_ptr<const LayerDelta>> deltas;
  bool empty() const { return !weight && !bias.defined() && deltas.empty(); }
};

/// Patches of one model, by layer id. Const while a run uses it.
class LayerPatches {
 public:
  LayerPatches() = default;
  explicit LayerPatches(std::size_t layers) : patches_(layers) {}
  LayerPatch& at(LayerId id) { return patches_.at(static_cast<std::size_t>(id)); }
  /// Null where nothing changes.
  const LayerPatch* find(LayerId id) const {
    const auto index = static_cast<std::size_t>(id);
    return index < patches_.size() && !patches_[index].empty() ? &patches_[index] : nullptr;
  }

 private:
  std::vector<LayerPatch> patches_;
};

/// The patches of some rows of a batch: rows [begin, end) of axis 0 of every layer's input.
struct PicturePatches {
  std::int64_t begin = 0, end = 0;
  const LayerPatches* patches = nullptr;  ///< null: none
};

}  // namespace velatura::nn
