// The ways in which adapters act on a layer while it runs, beside its own product. Strengths are
// those of the layer's members and are looked up by their index. Not here: which form a member
// takes (layer_plan.h).
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "lora/apply/dense_change.h"
#include "lora/apply/layer_stack.h"
#include "lora/apply/region.h"
#include "nn/delta.h"

namespace velatura::lora {

/// A delta of a set: its strengths change between steps.
class LiveForm : public nn::LayerDelta {
 public:
  /// Of all members of the layer; those that the form has not 0.
  virtual void set_strengths(std::span<const float> strengths) = 0;
  virtual std::size_t bytes() const { return 0; }  ///< kept beside the adapters' own tensors
};

/// Where a module stands in its layer, and the index of its strength.
struct LiveMember {
  std::shared_ptr<const ModuleDelta> delta;
  std::shared_ptr<const Placement> placement;  ///< the whole that its delta is of
  std::size_t member = 0;
};

/// All pairs of the layer as one (ops/low_rank.h). `members` go with the stack's parts.
std::shared_ptr<LiveForm> make_thin_form(const nn::LayerInfo& layer,
                                         std::shared_ptr<const LayerStack> stack,
                                         std::vector<std::size_t> members);
/// One LoKr by its factors (ops/kronecker.h).
std::shared_ptr<LiveForm> make_kronecker_form(const nn::LayerInfo& layer, LiveMember member);
/// One Tucker LoCon as three convolutions, of which the last is a product.
std::shared_ptr<LiveForm> make_tucker_form(const nn::LayerInfo& layer, LiveMember member);
/// A dense change beside the base's product.
std::shared_ptr<LiveForm> make_product_form(const nn::LayerInfo& layer,
                                            std::shared_ptr<ChangedWeight> change);
/// Changes of the bias, for where they cannot stand in for it.
std::shared_ptr<LiveForm> make_bias_form(std::vector<LiveMember> members,
                                         std::shared_ptr<const BaseWeights> base);
/// `inner`, multiplied by the region's mask.
std::shared_ptr<LiveForm> make_masked_form(std::shared_ptr<const Region> region,
                                           std::vector<std::shared_ptr<LiveForm>> inner);

/// Σ of the members' changes of the bias, f32; undefined where no member has any.
Tensor sum_of_biases(std::span<const LiveMember> members, std::span<const float> strengths,
                     const BaseWeights& base);

}  // namespace velatura::lora
