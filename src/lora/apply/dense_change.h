// Weights made from adapters' dense changes: what a layer's weight is changed by, and what stands
// in for it. Always from the pristine weight, in f32, rounded once. Not here: live forms without a
// dense change (live_forms.h).
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "lora/apply/stack_cache.h"
#include "lora/bind/bind.h"
#include "nn/delta.h"

namespace velatura::lora {

/// The weights and biases that adapters change and that kinds which depend on the base see: the
/// model's own, or what an active replacement put in their place (lora-formats §5.6). Immutable.
class BaseWeights {
 public:
  struct Replacement {
    std::shared_ptr<const ModuleDelta> delta;
    std::shared_ptr<const Placement> placement;
    bool operator==(const Replacement&) const = default;
  };
  struct Replacements {
    std::map<Target, Replacement> weights, biases;
    bool operator==(const Replacements&) const = default;
  };
  /// The components outlive it.
  BaseWeights(std::span<const Component> components, const Replacements& replacements);

  Tensor weight(const Target& target) const;  ///< f32; not to be written to
  Tensor whole(const Placement& placement) const;
  /// Likewise; undefined where the layer has none.
  Tensor bias(const Target& target) const;
  Tensor whole_bias(const Placement& placement) const;
  bool replaces_bias(const Target& target) const { return biases_.contains(target); }
  /// Of the weight; null: the model's own.
  const ModuleDelta* replacement(const Target& target) const;
  const Replacements& replacements() const { return replacements_; }

 private:
  std::span<const Component> components_;
  Replacements replacements_;
  std::map<Target, Tensor> values_, biases_;
};

/// One member of a layer that changes it densely.
struct DensePart {
  std::shared_ptr<const ModuleDelta> delta;
  std::shared_ptr<const Placement> placement;
  std::int64_t ranks = 0;  ///< as AdapterUse has them
  std::size_t member = 0;  ///< index of its strength
  std::string adapter;     ///< for messages
};

/// What all of them need to know of their layer.
struct DenseSite {
  const nn::LayerInfo* layer = nullptr;  ///< of the model, which outlives it
  Target target;
  std::shared_ptr<const BaseWeights> base;
};

/// Σ strength · ΔW of some members of one layer. Not thread-safe: its owner locks.
class DenseChange {
 public:
  /// `keeps`: the changes at strength 1 of linear kinds stay in memory, so that a strength is
  /// changed by a sum alone.
  DenseChange(DenseSite site, std::vector<DensePart> parts, bool keeps);
  /// f32, shaped as the layer's weight; undefined without parts. Throws bad_file for a change that
  /// is not finite, mismatch for one of another shape, naming adapter and layer.
  Tensor sum(std::span<const float> strengths);
  const DenseSite& site() const { return site_; }
  const std::vector<DensePart>& parts() const { return parts_; }
  std::size_t kept_bytes() const;

 private:
  Tensor change(std::size_t part, float strength) const;
  DenseSite site_;
  std::vector<DensePart> parts_;
  bool keeps_;
  std::vector<Tensor> at_one_;
};

/// How a weight is made and how long it stays.
struct MakingOptions {
  DType type = DType::f32;   ///< of what is stored
  bool keeps_weight = true;  ///< else it is made on every call
  bool keeps_changes = false;
  std::shared_ptr<StackCache> cache{};  ///< asked first; null: not shared
};

/// The base weight with the members' changes, or the changes alone. Made on the first call after
/// the strengths were set.
class ChangedWeight : public nn::StandIn {
 public:
  enum class Base { with, without };
  ChangedWeight(DenseSite site, std::vector<DensePart> parts, Base base, MakingOptions options);
  std::shared_ptr<const ops::Weight> weight() const override;
  /// Of the layer's members, by DensePart::member.
  void set_strengths(std::span<const float> strengths);
  bool keeps_weight() const { return options_.keeps_weight; }
  std::size_t bytes() const;  ///< kept now
  /// What was made last; null before, and where nothing is kept.
  std::shared_ptr<const MadeWeight> made() const;

 private:
  MadeWeight make() const;
  StackCache::WeightKey key() const;

  Base base_;
  MakingOptions options_;
  mutable std::mutex mutex_;
  mutable DenseChange change_;
  std::vector<float> strengths_;
  mutable std::shared_ptr<const MadeWeight> made_;
};

}  // namespace velatura::lora
