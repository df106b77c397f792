// Which form each adapter takes on each layer, and the forms of one layer put together. Not here:
// what the forms compute (live_forms.h, dense_change.h), when strengths change (adapter_set.h).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lora/apply/account.h"
#include "lora/apply/adapter_use.h"
#include "lora/apply/live_forms.h"
#include "nn/delta.h"

namespace velatura::lora {

/// One use of an adapter on one layer.
struct LayerMember {
  std::size_t use = 0;                   ///< index in the fixed order
  const BoundModule* module = nullptr;   ///< of the use's adapter
  std::int64_t ranks = 0;                ///< as AdapterUse has them
  std::shared_ptr<const Region> region;  ///< null: everywhere
  bool is_fused = false;                 ///< goes into the weight whatever its kind
  std::string adapter;                   ///< for messages
};

/// All that may ever act on a layer, in the fixed order, and what may be kept for it.
struct LayerPlan {
  nn::LayerId id = 0;
  std::vector<LayerMember> members;
  bool keeps_weight = true;
  bool keeps_changes = false;
};

/// What forms are made with.
struct FormContext {
  const nn::ModuleTree* tree = nullptr;
  int component = 0;
  weights::Part part = weights::Part::unet;
  DType weight_type = DType::f32;
  StackCache* stacks = nullptr;
  std::shared_ptr<StackCache> weights;  ///< null: made weights are not shared with other sets
};

/// The form of a member on its layer; `stand_in` and `dense_product` where the plan's keeps_weight
/// says that there is room. Throws mismatch for a pair that is not as wide as the layer.
Form form_of(const LayerMember& member, const nn::LayerInfo& layer, weights::Part part);
/// Bytes that the plan's dense forms keep when there is room, and those of its linear dense
/// changes.
struct DenseBytes {
  std::size_t weights = 0, changes = 0;
};
DenseBytes dense_bytes(const LayerPlan& plan, const nn::LayerInfo& layer, weights::Part part,
                       DType type);
/// What the plan's stand-in is made of while its strengths stay: equal keys of living sets are one
/// weight. Empty where a set keeps it for itself: under a mask.
std::vector<std::uint64_t> dense_key(const LayerPlan& plan, const nn::LayerInfo& layer,
                                     weights::Part part, DType type,
                                     std::span<const float> strengths);

/// The forms of one layer for a fixed choice of acting members: those whose strength is not 0.
class LayerForms {
 public:
  LayerForms(const FormContext& context, const LayerPlan& plan, std::span<const float> strengths,
             std::shared_ptr<const BaseWeights> base);
  /// The same members with other strengths, none of which turns 0 or stops being it.
  void set_strengths(std::span<const float> strengths);
  /// What the layer is to run with now.
  nn::LayerPatch patch() const;
  const Tensor& bias() const { return bias_; }
  /// The weight that stands in, or null.
  const ChangedWeight* weight() const { return weight_.get(); }
  LayerAccount account() const;

 private:
  struct Group;
  void add_live(const LayerPlan& plan, const Group& group,
                std::vector<std::shared_ptr<LiveForm>>& forms);
  void add_stand_in(const LayerPlan& plan, std::vector<DensePart> parts);
  std::vector<Group> group(const LayerPlan& plan, std::span<const float> strengths);
  void note(Form form);

  FormContext context_;
  const nn::LayerInfo* layer_;
  std::shared_ptr<const BaseWeights> base_;
  Target target_;
  std::shared_ptr<ChangedWeight> weight_;
  std::vector<LiveMember> bias_members_;
  Tensor bias_;
  std::vector<std::shared_ptr<LiveForm>> live_;
  std::vector<Form> noted_;
  std::size_t acting_ = 0;
};

}  // namespace velatura::lora
