// The adapters of a run, ready for the layers: live by default (stacked ranks, strengths in a
// vector, base untouched), or fused into new weights made from the pristine ones. Not here: files
// and names (bind/).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lora/apply/stack_cache.h"
#include "lora/bind/bind.h"
#include "nn/delta.h"

namespace velatura::lora {

enum class Mode { live, fused };

/// One adapter with its strengths. Any finite number is legal; 0 has no effect at all.
struct AdapterUse {
  std::shared_ptr<const BoundAdapter> adapter;
  float denoiser = 1;
  float text = 1;
  std::int64_t ranks = 0;  ///< use the first so many ranks only (A1111's dyn=); 0: all
};

/// The patches of each component. Uses are put in one fixed order, by content hash, so that the
/// order in which they were named never changes a bit; the same adapter twice adds up. Not
/// thread-safe: change strengths between runs of a model. The components' models outlive it.
class AdapterSet {
 public:
  /// `cache` keeps the stacks that live sets lay; sets that share one, on one model, switch at the
  /// cost of pointers. Without one the set has its own. Throws invalid_argument for a strength that
  /// is not finite or ranks below 0.
  AdapterSet(std::span<const Component> components, std::vector<AdapterUse> uses, Mode mode,
             std::shared_ptr<StackCache> cache = nullptr);
  ~AdapterSet();
  AdapterSet(AdapterSet&&) noexcept;
  AdapterSet& operator=(AdapterSet&&) noexcept;

  /// Null where the component is untouched: the run is then the plain one, bit for bit.
  const nn::LayerPatches* patches(std::size_t component) const;
  std::size_t size() const { return uses_.size(); }
  const AdapterUse& use(std::size_t index) const { return uses_.at(index); }

  /// Changes the strengths of use `index` (in the fixed order). Live: writes a few floats a layer;
  /// other stacks come in only where a strength becomes 0 or stops being 0, so that 0 stays
  /// bit-identical to absence. Fused: makes new weights.
  void set_strength(std::size_t index, float denoiser, float text);
  /// Index in the fixed order of the adapter with this content hash; size() when absent.
  std::size_t find(const std::string& content_hash) const;

 private:
  class LiveDelta;
  struct ComponentState;
  void rebuild(std::size_t component);
  void write_scales(const ComponentState& state, weights::Part kind);

  std::vector<Component> components_;
  std::vector<AdapterUse> uses_;
  Mode mode_;
  std::shared_ptr<StackCache> cache_;
  std::vector<ComponentState> states_;  ///< one a component
};

}  // namespace velatura::lora
