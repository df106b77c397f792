#include "lora/apply/layer_plan.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/error.h"
#include "ops/kronecker.h"

namespace velatura::lora {

namespace {

bool multiplies(const nn::LayerInfo& layer) {
  return layer.kind == nn::LayerKind::linear || layer.kind == nn::LayerKind::conv2d;
}

/// Whether the factors are the cheaper way. Beyond half of the layer's own product they are no thin
/// form any more, and a weight that stands in, which costs nothing once it is made, serves; under a
/// mask the other way is a whole product.
bool serves(const KroneckerFactors& factors, const LayerMember& member,
            const nn::LayerInfo& layer) {
  if ((layer.kind == nn::LayerKind::conv2d) != (factors.w2->shape().rank() == 4)) return false;
  const std::int64_t own = layer.weight->shape().count();
  const std::int64_t most = member.region ? own : own / 2;
  return ops::KroneckerShape::of(*factors.w1, *factors.w2).multiplications() <= most;
}

void check_width(const LayerMember& member, const nn::LayerInfo& layer) {
  const Shape& down = member.module->delta->thin()->down->shape();
  const Shape& weight = layer.weight->shape();
  if (down.count() / down[0] == weight.count() / weight[0]) return;
  fail(ErrorKind::mismatch,
       "\"{}\" widens \"{}\" to {} inputs, but the model's weight is {}: it is an adapter for a "
       "model with more inputs",
       member.adapter, layer.path, down[1], weight.to_string());
}

}  // namespace

Form form_of(const LayerMember& member, const nn::LayerInfo& layer, weights::Part part) {
  const ModuleDelta& delta = *member.module->delta;
  if (member.region && (!multiplies(layer) || !sees_picture(part, layer.path)))
    return Form::untouched;
  if (!multiplies(layer) || !delta.changes_weight()) return Form::parameter;
  const bool needs_weight = member.is_fused || (delta.replaces() && !member.region);
  if (needs_weight) return Form::stand_in;
  if (delta.thin() != nullptr) {
    check_width(member, layer);
    return Form::thin;
  }
  if (delta.kronecker() != nullptr && serves(*delta.kronecker(), member, layer))
    return Form::kronecker;
  if (delta.tucker() != nullptr && layer.kind == nn::LayerKind::conv2d) return Form::tucker;
  return member.region ? Form::dense_product : Form::stand_in;
}

DenseBytes dense_bytes(const LayerPlan& plan, const nn::LayerInfo& layer, weights::Part part,
                       DType type) {
  DenseBytes bytes;
  const auto values = static_cast<std::size_t>(layer.weight->shape().count());
  std::vector<const Region*> counted;
  for (const LayerMember& member : plan.members) {
    const Form form = form_of(member, layer, part);
    if (form != Form::stand_in && form != Form::dense_product) continue;
    if (member.module->delta->is_linear()) bytes.changes += values * sizeof(float);
    if (std::ranges::find(counted, member.region.get()) != counted.end()) continue;
    counted.push_back(member.region.get());
    bytes.weights += values * size_of(type);
  }
  return bytes;
}

std::vector<std::uint64_t> dense_key(const LayerPlan& plan, const nn::LayerInfo& layer,
                                     weights::Part part, DType type,
                                     std::span<const float> strengths) {
  const auto address = [](const void* of) {
    return static_cast<std::uint64_t>(reinterpret_cast<std::uintptr_t>(of));
  };
  std::vector<std::uint64_t> key = {address(&layer), static_cast<std::uint64_t>(type)};
  for (std::size_t index = 0; index < plan.members.size(); ++index) {
    const LayerMember& member = plan.members[index];
    const Form form = form_of(member, layer, part);
    if (form != Form::stand_in && form != Form::dense_product) continue;
    if (member.region) return {};
    key.push_back(address(member.module->delta.get()));
    key.push_back(static_cast<std::uint64_t>(member.ranks));
    key.push_back(std::bit_cast<std::uint32_t>(strengths[index]));
  }
  return key;
}

/// The acting members of one region, by form.
struct LayerForms::Group {
  std::shared_ptr<const Region> region;
  std::vector<StackPart> thin;
  std::vector<std::size_t> thin_members;
  std::vector<LiveMember> kronecker, tucker, biases;
  std::vector<DensePart> dense;
};

LayerForms::LayerForms(const FormContext& context, const LayerPlan& plan,
                       std::span<const float> strengths, std::shared_ptr<const BaseWeights> base)
    : context_(context),
      layer_(&context.tree->layer(plan.id)),
      base_(std::move(base)),
      target_{.component = context.component, .layer = plan.id} {
  for (Group& group : group(plan, strengths)) {
    if (group.region == nullptr) {
      add_stand_in(plan, std::move(group.dense));
      group.dense.clear();
      bias_members_ = std::move(group.biases);
      group.biases.clear();
      add_live(plan, group, live_);
      continue;
    }
    std::vector<std::shared_ptr<LiveForm>> inner;
    add_live(plan, group, inner);
    if (!inner.empty()) live_.push_back(make_masked_form(group.region, std::move(inner)));
  }
  set_strengths(strengths);
}

/// The unmasked ones first, there even when empty: a replaced base may be all there is.
std::vector<LayerForms::Group> LayerForms::group(const LayerPlan& plan,
                                                 std::span<const float> strengths) {
  std::vector<Group> groups(1);
  for (std::size_t index = 0; index < plan.members.size(); ++index) {
    if (strengths[index] == 0) continue;
    const LayerMember& member = plan.members[index];
    const std::shared_ptr<const ModuleDelta>& delta = member.module->delta;
    const Form form = form_of(member, *layer_, context_.part);
    ++acting_;
    if (form == Form::untouched) {
      note(form);
      continue;
    }
    auto own = std::ranges::find(groups, member.region, &Group::region);
    if (own == groups.end()) {
      groups.push_back({.region = member.region});
      own = std::prev(groups.end());
    }
    const std::shared_ptr<const Placement>& placement = member.module->placement;
    const auto bias = [&] { return base_->whole_bias(*placement); };
    if (delta->bias_change(bias, strengths[index]).defined()) {
      note(Form::parameter);
      if (member.region || !delta->replaces_bias())
        own->biases.push_back({.delta = delta, .placement = placement, .member = index});
    }
    if (form == Form::thin) {
      const std::int64_t ranks =
          member.ranks > 0 ? delta->ranks_among(member.ranks) : delta->rank();
      if (ranks == 0) continue;  // all of this layer's come behind the first few
      own->thin.push_back({.delta = delta, .ranks = ranks});
      own->thin_members.push_back(index);
      note(form);
    } else if (form == Form::kronecker) {
      own->kronecker.push_back({.delta = delta, .placement = placement, .member = index});
      note(form);
    } else if (form == Form::tucker) {
      own->tucker.push_back({.delta = delta, .placement = placement, .member = index});
      note(form);
    } else if (delta->changes_weight() && (member.region || !delta->replaces())) {
      own->dense.push_back({.delta = delta,
                            .placement = placement,
                            .ranks = member.ranks,
                            .member = index,
                            .adapter = member.adapter});
    }
  }
  return groups;
}

void LayerForms::add_stand_in(const LayerPlan& plan, std::vector<DensePart> parts) {
  if (parts.empty() && base_->replacement(target_) == nullptr) return;
  const bool is_small = !multiplies(*layer_);
  const bool is_vector = layer_->kind == nn::LayerKind::norm;
  const bool keeps = is_small || plan.keeps_weight;
  note(is_small ? Form::parameter : keeps ? Form::stand_in : Form::recomputed);
  weight_ = std::make_shared<ChangedWeight>(
      DenseSite{.layer = layer_, .target = target_, .base = base_}, std::move(parts),
      ChangedWeight::Base::with,
      MakingOptions{.type = is_vector ? DType::f32 : context_.weight_type,
                    .keeps_weight = keeps,
                    .keeps_changes = plan.keeps_changes,
                    .cache = context_.weights});
}

void LayerForms::add_live(const LayerPlan& plan, const Group& group,
                          std::vector<std::shared_ptr<LiveForm>>& forms) {
  if (!group.thin.empty()) {
    forms.push_back(
        make_thin_form(*layer_, context_.stacks->stack(group.thin), group.thin_members));
  }
  for (const LiveMember& member : group.kronecker)
    forms.push_back(make_kronecker_form(*layer_, member));
  for (const LiveMember& member : group.tucker) forms.push_back(make_tucker_form(*layer_, member));
  if (!group.dense.empty()) {
    note(plan.keeps_weight ? Form::dense_product : Form::recomputed);
    forms.push_back(
        make_product_form(*layer_, std::make_shared<ChangedWeight>(
                                       DenseSite{.layer = layer_, .target = target_, .base = base_},
                                       group.dense, ChangedWeight::Base::without,
                                       MakingOptions{.type = context_.weight_type,
                                                     .keeps_weight = plan.keeps_weight,
                                                     .keeps_changes = plan.keeps_changes,
                                                     .cache = context_.weights})));
  }
  if (!group.biases.empty()) forms.push_back(make_bias_form(group.biases, base_));
}

void LayerForms::note(Form form) {
  const auto at = std::ranges::lower_bound(noted_, form);
  if (at == noted_.end() || *at != form) noted_.insert(at, form);
}

void LayerForms::set_strengths(std::span<const float> strengths) {
  if (weight_) weight_->set_strengths(strengths);
  for (const auto& form : live_) form->set_strengths(strengths);
  const Tensor change = sum_of_biases(bias_members_, strengths, *base_);
  if (!change.defined() && !base_->replaces_bias(target_)) return;
  bias_ = layer_->bias.defined() ? base_->bias(target_).clone()
                                 : Tensor::zeros(change.shape(), DType::f32);
  if (!change.defined()) return;
  VELATURA_CHECK(bias_.count() == change.count());
  for (std::size_t i = 0; i < bias_.floats().size(); ++i)
    bias_.mutable_floats()[i] += change.floats()[i];
}

nn::LayerPatch LayerForms::patch() const {
  return {.weight = weight_, .bias = bias_, .deltas = {live_.begin(), live_.end()}};
}

LayerAccount LayerForms::account() const {
  LayerAccount account{.path = layer_->path, .forms = noted_, .adapters = acting_};
  account.bytes = bias_.byte_size();
  for (const auto& form : live_) account.bytes += form->bytes();
  if (weight_ == nullptr) return account;
  account.bytes += weight_->bytes();
  if (const auto made = weight_->made(); made && made->change > 0) {
    account.squared_change = made->change;
    account.squared_error = made->error;
    account.error = std::sqrt(made->error / made->change);
  }
  return account;
}

}  // namespace velatura::lora
