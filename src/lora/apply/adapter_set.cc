#include "lora/apply/adapter_set.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "base/error.h"
#include "lora/apply/layer_plan.h"

namespace velatura::lora {

namespace {

/// A layer with its members' strengths of this moment; forms where any of them is not 0.
struct Layer {
  LayerPlan plan;
  std::vector<float> strengths;
  std::unique_ptr<LayerForms> forms;
  bool is_served = false;  ///< a model was given these forms
  std::optional<LayerAccount> earlier;

  /// Notes what a model was given, before it changes.
  void remember() {
    if (!is_served) return;
    is_served = false;
    if (forms == nullptr) return;
    if (earlier) {
      earlier->join(forms->account());
    } else {
      earlier = forms->account();
    }
  }
};

struct ComponentState {
  std::vector<Layer> layers;   ///< that a use may act on, by id
  std::vector<float> moments;  ///< of each use, strength × schedule, that the layers show
  nn::LayerPatches patches;
  std::shared_ptr<const BaseWeights> base;
  std::size_t touched = 0;     ///< layers with forms
  bool is_handed_out = false;  ///< since the last change
};

bool same_mask(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.bytes(), b.bytes(), a.byte_size()) == 0;
}

/// Uses with equal masks share a region, and are masked together.
class Regions {
 public:
  std::shared_ptr<const Region> of(const AdapterUse& use, const SetOptions& options) {
    if (!use.region.defined()) return nullptr;
    for (const auto& [mask, region] : known_) {
      if (same_mask(mask, use.region)) return region;
    }
    known_.emplace_back(use.region, std::make_shared<const Region>(
                                        use.region, options.picture_height, options.picture_width));
    return known_.back().second;
  }

 private:
  std::vector<std::pair<Tensor, std::shared_ptr<const Region>>> known_;
};

void check_factors(const AdapterUse& use, std::span<const Component> components) {
  for (std::size_t at = 0; at < use.factors.size(); ++at) {
    if (use.factors[at] == nullptr) continue;
    VELATURA_CHECK(at < components.size() &&
                   use.factors[at]->size() == components[at].modules.size());
  }
}

}  // namespace

struct AdapterSet::State {
  std::span<const Component> components;
  std::vector<AdapterUse> uses;
  Mode mode = Mode::live;
  SetOptions options;
  Moment moment;
  std::uint64_t seen = 0;  ///< of options.control
  std::vector<ComponentState> states;

  void plan();
  void share_memory();
  bool update();
  void update(std::size_t component);
  std::shared_ptr<const BaseWeights> base_now(std::size_t component) const;
  float strength(const LayerMember& member, std::size_t component, nn::LayerId layer) const;
  std::vector<float> strengths(std::size_t component, const LayerPlan& plan) const;
  float schedule_factor(std::size_t use, std::size_t component) const;
  bool changes_while_running(std::size_t use) const {
    return options.control != nullptr || !uses[use].schedule.is_constant();
  }
  FormContext context(std::size_t component, const LayerPlan& plan) const;
  void take_posted();
};

AdapterSet::AdapterSet(std::span<const Component> components, std::vector<AdapterUse> uses,
                       Mode mode, SetOptions options)
    : state_(std::make_unique<State>()) {
  state_->components = components;
  state_->uses = in_fixed_order(std::move(uses));
  state_->mode = mode;
  state_->options = std::move(options);
  if (!state_->options.cache) state_->options.cache = std::make_shared<StackCache>();
  if (!state_->options.budget) state_->options.budget = std::make_shared<StandInBudget>();
  for (const AdapterUse& use : state_->uses) check_factors(use, components);
  state_->plan();
  state_->share_memory();
  state_->update();
}

AdapterSet::~AdapterSet() = default;
AdapterSet::AdapterSet(AdapterSet&&) noexcept = default;
AdapterSet& AdapterSet::operator=(AdapterSet&&) noexcept = default;

/// Lists who may act where; uses are gone through in the fixed order, so members stand in it.
void AdapterSet::State::plan() {
  states.resize(components.size());
  Regions regions;
  std::vector<std::map<nn::LayerId, std::vector<LayerMember>>> members(components.size());
  for (std::size_t index = 0; index < uses.size(); ++index) {
    const AdapterUse& use = uses[index];
    const std::shared_ptr<const Region> region = regions.of(use, options);
    for (const BoundModule& module : use.adapter->modules) {
      const auto component = static_cast<std::size_t>(module.target.component);
      const bool is_text = weights::is_text_encoder(components[component].part);
      if (module.delta->is_zero() || (region && region->is_empty() && !is_text)) continue;
      members[component][module.target.layer].push_back(
          {.use = index,
           .module = &module,
           .ranks = use.ranks,
           .region = is_text ? nullptr : region,
           .is_fused = mode == Mode::fused && (is_text || (!region && use.schedule.is_constant())),
           .adapter = use.adapter->file->stem()});
    }
  }
  for (std::size_t component = 0; component < components.size(); ++component) {
    ComponentState& state = states[component];
    state.patches = nn::LayerPatches(components[component].tree->layers().size());
    state.base = std::make_shared<const BaseWeights>(components, BaseWeights::Replacements());
    for (auto& [id, of_layer] : members[component])
      state.layers.push_back({.plan = {.id = id, .members = std::move(of_layer)}});
  }
}

/// Rooms are given in the model's order: which layers are kept depends on nothing but the uses, and
/// on the sets that had their rooms before.
void AdapterSet::State::share_memory() {
  if (mode == Mode::fused) return;
  for (std::size_t component = 0; component < components.size(); ++component) {
    const Component& of = components[component];
    for (Layer& layer : states[component].layers) {
      LayerPlan& plan = layer.plan;
      const nn::LayerInfo& info = of.tree->layer(plan.id);
      const DenseBytes bytes = dense_bytes(plan, info, of.part, options.weight_type);
      const bool moves = std::ranges::any_of(plan.members, [&](const LayerMember& member) {
        return changes_while_running(member.use);
      });
      std::vector<std::uint64_t> key;
      if (!moves)
        key = dense_key(plan, info, of.part, options.weight_type, strengths(component, plan));
      plan.keeps_weight = options.budget->take(key, bytes.weights);
      plan.keeps_changes = moves && options.budget->take({}, bytes.changes);
    }
  }
}

float AdapterSet::State::schedule_factor(std::size_t use, std::size_t component) const {
  if (weights::is_text_encoder(components[component].part)) return 1;
  return static_cast<float>(uses[use].schedule.factor(moment));
}

float AdapterSet::State::strength(const LayerMember& member, std::size_t component,
                                  nn::LayerId layer) const {
  const float strength = uses[member.use].strength(components[component].part, component, layer) *
                         schedule_factor(member.use, component);
  if (!std::isfinite(strength)) {
    fail(ErrorKind::invalid_argument, "strength × block weight × schedule of \"{}\" is not finite",
         member.adapter);
  }
  return strength;
}

std::vector<float> AdapterSet::State::strengths(std::size_t component,
                                                const LayerPlan& plan) const {
  std::vector<float> strengths;
  for (const LayerMember& member : plan.members)
    strengths.push_back(strength(member, component, plan.id));
  return strengths;
}

FormContext AdapterSet::State::context(std::size_t component, const LayerPlan& plan) const {
  const bool is_steady =
      mode == Mode::live && std::ranges::none_of(plan.members, [&](const LayerMember& member) {
        return changes_while_running(member.use);
      });
  return {.tree = components[component].tree,
          .component = static_cast<int>(component),
          .part = components[component].part,
          .weight_type = options.weight_type,
          .stacks = options.cache.get(),
          .weights = is_steady ? options.cache : nullptr};
}

/// What replaces parameters at this moment. One file may do it twice, two may not.
std::shared_ptr<const BaseWeights> AdapterSet::State::base_now(std::size_t component) const {
  BaseWeights::Replacements replacements;
  std::map<const BaseWeights::Replacement*, const LayerMember*> first;
  for (const Layer& layer : states[component].layers) {
    for (const LayerMember& member : layer.plan.members) {
      const ModuleDelta& delta = *member.module->delta;
      if ((!delta.replaces() && !delta.replaces_bias()) || member.region) continue;
      if (strength(member, component, layer.plan.id) == 0) continue;
      const char* what = delta.replaces() ? "weight" : "bias";
      auto& of = delta.replaces() ? replacements.weights : replacements.biases;
      const auto [known, is_new] =
          of.emplace(member.module->target,
                     BaseWeights::Replacement{member.module->delta, member.module->placement});
      const LayerMember* before = first.try_emplace(&known->second, &member).first->second;
      if (!is_new && before->module != member.module) {
        fail(ErrorKind::mismatch,
             "\"{}\" and \"{}\" both replace the {} of \"{}\": use one of them, or give one a "
             "strength of 0 there",
             before->adapter, member.adapter, what,
             components[component].tree->layer(layer.plan.id).path);
      }
    }
  }
  if (replacements == states[component].base->replacements()) return states[component].base;
  return std::make_shared<const BaseWeights>(components, replacements);
}

bool AdapterSet::State::update() {
  bool changed = false;
  for (std::size_t component = 0; component < components.size(); ++component) {
    std::vector<float> moments;
    for (std::size_t use = 0; use < uses.size(); ++use) {
      moments.push_back(uses[use].strength(components[component].part) *
                        schedule_factor(use, component));
    }
    if (moments == states[component].moments) continue;
    states[component].moments.clear();  // until all layers show them: an error leaves some behind
    update(component);
    states[component].moments = std::move(moments);
    changed = true;
  }
  return changed;
}

void AdapterSet::State::update(std::size_t component) {
  ComponentState& state = states[component];
  const std::shared_ptr<const BaseWeights> base = base_now(component);
  const bool same_base = base == state.base;
  state.base = base;
  if (std::exchange(state.is_handed_out, false)) {
    for (Layer& layer : state.layers) layer.is_served = true;
  }
  for (Layer& layer : state.layers) {
    std::vector<float> strengths = this->strengths(component, layer.plan);
    if (same_base && strengths == layer.strengths) continue;
    const bool acts = std::ranges::any_of(strengths, [](float strength) { return strength != 0; });
    const bool same_members =
        layer.forms != nullptr &&
        std::ranges::equal(strengths, layer.strengths,
                           [](float now, float then) { return (now == 0) == (then == 0); });
    nn::LayerPatch& patch = state.patches.at(layer.plan.id);
    layer.remember();
    if (same_base && same_members) {
      layer.forms->set_strengths(strengths);
      patch.bias = layer.forms->bias();
    } else {
      state.touched -= layer.forms != nullptr ? 1 : 0;
      layer.forms.reset();
      patch = {};
      if (acts) {
        layer.forms = std::make_unique<LayerForms>(context(component, layer.plan), layer.plan,
                                                   strengths, base);
        patch = layer.forms->patch();
        ++state.touched;
      }
    }
    if (mode == Mode::fused && layer.forms && layer.forms->weight())
      layer.forms->weight()->weight();  // made here and now, not when the layer runs
    layer.strengths = std::move(strengths);
  }
}

const nn::LayerPatches* AdapterSet::patches(std::size_t component) const {
  if (component >= state_->states.size() || state_->states[component].touched == 0) return nullptr;
  ComponentState& state = state_->states[component];
  state.is_handed_out = true;
  return &state.patches;
}

std::size_t AdapterSet::size() const {
  return state_->uses.size();
}

const AdapterUse& AdapterSet::use(std::size_t index) const {
  return state_->uses.at(index);
}

std::size_t AdapterSet::find(const std::string& content_hash) const {
  const auto found = std::ranges::find_if(state_->uses, [&](const AdapterUse& use) {
    return use.adapter->file->content_hash() == content_hash;
  });
  return static_cast<std::size_t>(found - state_->uses.begin());
}

void AdapterSet::set_strength(std::size_t index, float denoiser, float text,
                              std::optional<float> te2, std::optional<float> t5) {
  AdapterUse changed = use(index);
  changed.denoiser = denoiser;
  changed.text = text;
  if (te2) changed.te2 = te2;
  if (t5) changed.t5 = t5;
  check(changed);
  const AdapterUse before = std::exchange(state_->uses[index], std::move(changed));
  try {
    state_->update();
  } catch (...) {
    state_->uses[index] = before;
    state_->update();
    throw;
  }
}

void AdapterSet::State::take_posted() {
  if (options.control == nullptr) return;
  for (const StrengthControl::Posted& posted : options.control->since(seen)) {
    for (AdapterUse& use : uses) {
      if (use.adapter->file->stem() != posted.adapter &&
          use.adapter->file->content_hash() != posted.adapter)
        continue;
      const StrengthChange& change = posted.change;
      if (change.denoiser) use.denoiser = *change.denoiser;
      if (change.text) use.text = *change.text;
      if (change.te2) use.te2 = change.te2;
      if (change.t5) use.t5 = change.t5;
    }
  }
}

bool AdapterSet::advance(const Moment& moment) {
  state_->moment = moment;
  state_->take_posted();
  return state_->update();
}

std::vector<ComponentAccount> AdapterSet::account() const {
  std::vector<ComponentAccount> accounts;
  for (std::size_t component = 0; component < state_->components.size(); ++component) {
    accounts.push_back({.component = state_->components[component].name});
    for (const Layer& layer : state_->states[component].layers) {
      if (layer.forms != nullptr) accounts.back().add(layer.forms->account());
    }
  }
  return accounts;
}

std::vector<ComponentAccount> AdapterSet::account_of_run() const {
  std::vector<ComponentAccount> accounts;
  for (std::size_t component = 0; component < state_->components.size(); ++component) {
    const ComponentState& state = state_->states[component];
    accounts.push_back({.component = state_->components[component].name});
    for (const Layer& layer : state.layers) {
      std::optional<LayerAccount> own = layer.earlier;
      if (layer.forms != nullptr && (layer.is_served || state.is_handed_out)) {
        const LayerAccount now = layer.forms->account();
        own ? own->join(now) : void(own = now);
      }
      if (own) accounts.back().add(*std::move(own));
    }
  }
  return accounts;
}

}  // namespace velatura::lora
