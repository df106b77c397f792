#include "lora/apply/adapter_set.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "base/error.h"
#include "nn/run.h"
#include "ops/low_rank.h"

namespace velatura::lora {

namespace {

/// W + Σ strength · ΔW in f32, from the pristine weight. `strengths` go with the stack's parts.
class Fused : public nn::StandIn {
 public:
  explicit Fused(Tensor merged) : weight_(std::make_shared<const ops::Weight>(std::move(merged))) {}
  std::shared_ptr<const ops::Weight> weight() const override { return weight_; }

 private:
  std::shared_ptr<const ops::Weight> weight_;
};

std::shared_ptr<const nn::StandIn> fuse(const nn::LayerInfo& layer, const LayerStack& stack,
                                        std::span<const float> strengths) {
  Tensor merged = to_f32(layer.weight->original());
  if (merged.bytes() == layer.weight->original().bytes()) merged = merged.clone();
  float* values = merged.mutable_data<float>();
  for (std::size_t part = 0; part < strengths.size(); ++part) {
    const Tensor delta = stack.parts()[part].delta->weight_change({}, 1, stack.parts()[part].ranks);
    const float* added = delta.data<float>();
    const float strength = strengths[part];
#pragma omp parallel for
    for (std::int64_t i = 0; i < merged.count(); ++i) values[i] += strength * added[i];
  }
  return std::make_shared<const Fused>(std::move(merged));
}

/// A stack with this set's strengths.
class LiveDelta : public nn::LayerDelta {
 public:
  LiveDelta(const nn::LayerInfo& layer, const LayerStack& stack)
      : stack_(stack),
        geometry_(layer.geometry),
        is_convolution_(layer.kind == nn::LayerKind::conv2d),
        scales_(Tensor::allocate({stack.rank()}, DType::f32)) {}

  /// `strengths` go with the stack's parts.
  void set_scales(std::span<const float> strengths) {
    float* scales = scales_.mutable_data<float>();
    for (std::size_t part = 0; part < strengths.size(); ++part) {
      const StackPart& of = stack_.parts()[part];
      scales = std::fill_n(scales, of.ranks, strengths[part] * of.delta->thin()->scale);
    }
  }

  void add_to(nn::Run& run, const Tensor& x, Tensor& y) const override {
    if (is_convolution_) {
      ops::low_rank_conv_update(run.ops, x, stack_.down(), scales_, stack_.up(), geometry_, y);
    } else {
      ops::low_rank_update(run.ops, x, stack_.down(), scales_, stack_.up(), y);
    }
  }

  std::optional<ops::LowRank> low_rank() const override {
    if (is_convolution_) return std::nullopt;
    return ops::LowRank{.down = stack_.down(), .scales = scales_, .up = stack_.up()};
  }

 private:
  const LayerStack& stack_;  // of the component's state, which lives as long
  ops::ConvGeometry geometry_;
  bool is_convolution_;
  Tensor scales_;
};

struct ComponentState {
  std::shared_ptr<const ComponentStacks> stacks;
  std::vector<std::size_t> uses;  ///< of the stacks' members, as indices into uses_
  std::vector<std::shared_ptr<LiveDelta>> deltas;  ///< of the stacks' layers, live sets alone
  nn::LayerPatches patches;
};

}  // namespace

struct AdapterSet::State {
  std::vector<Component> components;
  std::vector<AdapterUse> uses;
  Mode mode;
  SetOptions options;
  std::vector<ComponentState> states;

  void rebuild(std::size_t component);
  void write_scales(const ComponentState& state, weights::Part part);
};

AdapterSet::AdapterSet(std::span<const Component> components, std::vector<AdapterUse> uses,
                       Mode mode, SetOptions options)
    : state_(std::make_unique<State>()) {
  state_->components.assign(components.begin(), components.end());
  state_->uses = in_fixed_order(std::move(uses));
  state_->mode = mode;
  state_->options = std::move(options);
  if (!state_->options.cache) state_->options.cache = std::make_shared<StackCache>();
  state_->states.resize(components.size());
  for (std::size_t component = 0; component < components.size(); ++component)
    state_->rebuild(component);
}

AdapterSet::~AdapterSet() = default;
AdapterSet::AdapterSet(AdapterSet&&) noexcept = default;
AdapterSet& AdapterSet::operator=(AdapterSet&&) noexcept = default;

std::size_t AdapterSet::size() const {
  return state_->uses.size();
}

const AdapterUse& AdapterSet::use(std::size_t index) const {
  return state_->uses.at(index);
}

void AdapterSet::State::rebuild(std::size_t component) {
  const weights::Part kind = components[component].part;
  const nn::ModuleTree& tree = *components[component].tree;
  ComponentState state;
  StackKey key{.component = component, .members = {}};
  for (std::size_t use = 0; use < uses.size(); ++use) {
    if (uses[use].strength(kind) == 0) continue;
    key.members.push_back({.adapter = uses[use].adapter, .ranks = uses[use].ranks});
    state.uses.push_back(use);
  }
  state.stacks = options.cache->get(std::move(key));
  state.patches = nn::LayerPatches(tree.layers().size());
  for (const ComponentStacks::Layer& layer : state.stacks->layers) {
    const nn::LayerInfo& info = tree.layer(layer.id);
    if (mode == Mode::live) {
      state.deltas.push_back(std::make_shared<LiveDelta>(info, *layer.stack));
      state.patches.at(layer.id).deltas.push_back(state.deltas.back());
      continue;
    }
    std::vector<float> strengths;
    for (const std::size_t member : layer.members)
      strengths.push_back(uses[state.uses[member]].strength(kind));
    state.patches.at(layer.id).weight = fuse(info, *layer.stack, strengths);
  }
  write_scales(state, kind);
  states[component] = std::move(state);
}

void AdapterSet::State::write_scales(const ComponentState& state, weights::Part kind) {
  std::vector<float> strengths;
  for (std::size_t at = 0; at < state.deltas.size(); ++at) {
    strengths.clear();
    for (const std::size_t member : state.stacks->layers[at].members)
      strengths.push_back(uses[state.uses[member]].strength(kind));
    state.deltas[at]->set_scales(strengths);
  }
}

const nn::LayerPatches* AdapterSet::patches(std::size_t component) const {
  const bool touched =
      component < state_->states.size() && !state_->states[component].stacks->layers.empty();
  return touched ? &state_->states[component].patches : nullptr;
}

void AdapterSet::set_strength(std::size_t index, float denoiser, float text,
                              std::optional<float> te2, std::optional<float> t5) {
  AdapterUse changed = state_->uses.at(index);
  changed.denoiser = denoiser;
  changed.text = text;
  if (te2) changed.te2 = te2;
  if (t5) changed.t5 = t5;
  check(changed);
  const AdapterUse before = std::exchange(state_->uses[index], std::move(changed));
  for (std::size_t component = 0; component < state_->components.size(); ++component) {
    const weights::Part kind = state_->components[component].part;
    const float then = before.strength(kind), now = state_->uses[index].strength(kind);
    if (then == now) continue;
    if (state_->mode == Mode::fused || then == 0 || now == 0) {
      state_->rebuild(component);
    } else {
      state_->write_scales(state_->states[component], kind);
    }
  }
}

std::size_t AdapterSet::find(const std::string& content_hash) const {
  const auto found = std::ranges::find_if(state_->uses, [&](const AdapterUse& use) {
    return use.adapter->file->content_hash() == content_hash;
  });
  return static_cast<std::size_t>(found - state_->uses.begin());
}

}  // namespace velatura::lora
