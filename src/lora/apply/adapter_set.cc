#include "lora/apply/adapter_set.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "base/error.h"
#include "nn/run.h"
#include "ops/low_rank.h"

namespace velatura::lora {

namespace {

float strength_of(const AdapterUse& use, weights::Part part) {
  return weights::is_text_encoder(part) ? use.text : use.denoiser;
}

void check(const AdapterUse& use) {
  if (!std::isfinite(use.denoiser) || !std::isfinite(use.text)) {
    fail(ErrorKind::invalid_argument, "the strength of \"{}\" is not a finite number",
         use.adapter->file->stem());
  }
  if (use.ranks < 0) {
    fail(ErrorKind::invalid_argument, "\"{}\" is asked for {} ranks; 1 or more, or 0 for all",
         use.adapter->file->stem(), use.ranks);
  }
}

/// By identity; equal ones by strength too, since they are added up and a sum of floats depends on
/// its order.
std::vector<AdapterUse> in_fixed_order(std::vector<AdapterUse> named) {
  const auto key = [](const AdapterUse& use) {
    return std::tie(use.adapter->file->content_hash(), use.ranks, use.denoiser, use.text);
  };
  std::ranges::for_each(named, check);
  std::ranges::sort(named, [&](const auto& a, const auto& b) { return key(a) < key(b); });
  std::vector<AdapterUse> uses;
  for (AdapterUse& use : named) {
    const bool again =
        !uses.empty() && uses.back().ranks == use.ranks &&
        uses.back().adapter->file->content_hash() == use.adapter->file->content_hash();
    if (again) {
      uses.back().denoiser += use.denoiser;
      uses.back().text += use.text;
      check(uses.back());
    } else {
      uses.push_back(std::move(use));
    }
  }
  return uses;
}

/// W + Σ strength · ΔW in f32, from the pristine weight. `strengths` go with the stack's parts.
std::shared_ptr<const ops::Weight> fuse(const nn::LayerInfo& layer, const LayerStack& stack,
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
  return std::make_shared<const ops::Weight>(std::move(merged));
}

}  // namespace

/// A stack with this set's strengths.
class AdapterSet::LiveDelta : public nn::LayerDelta {
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

struct AdapterSet::ComponentState {
  std::shared_ptr<const ComponentStacks> stacks;
  std::vector<std::size_t> uses;  ///< of the stacks' members, as indices into uses_
  std::vector<std::shared_ptr<LiveDelta>> deltas;  ///< of the stacks' layers, live sets alone
  nn::LayerPatches patches;
};

AdapterSet::AdapterSet(std::span<const Component> components, std::vector<AdapterUse> uses,
                       Mode mode, std::shared_ptr<StackCache> cache)
    : components_(components.begin(), components.end()),
      uses_(in_fixed_order(std::move(uses))),
      mode_(mode),
      cache_(cache ? std::move(cache) : std::make_shared<StackCache>()),
      states_(components.size()) {
  for (std::size_t component = 0; component < components_.size(); ++component) rebuild(component);
}

AdapterSet::~AdapterSet() = default;
AdapterSet::AdapterSet(AdapterSet&&) noexcept = default;
AdapterSet& AdapterSet::operator=(AdapterSet&&) noexcept = default;

void AdapterSet::rebuild(std::size_t component) {
  const weights::Part kind = components_[component].part;
  const nn::ModuleTree& tree = *components_[component].tree;
  ComponentState state;
  StackKey key{.component = component, .members = {}};
  for (std::size_t use = 0; use < uses_.size(); ++use) {
    if (strength_of(uses_[use], kind) == 0) continue;
    key.members.push_back({.adapter = uses_[use].adapter, .ranks = uses_[use].ranks});
    state.uses.push_back(use);
  }
  state.stacks = cache_->get(std::move(key));
  state.patches = nn::LayerPatches(tree.layers().size());
  for (const ComponentStacks::Layer& layer : state.stacks->layers) {
    const nn::LayerInfo& info = tree.layer(layer.id);
    if (mode_ == Mode::live) {
      state.deltas.push_back(std::make_shared<LiveDelta>(info, *layer.stack));
      state.patches.at(layer.id).deltas.push_back(state.deltas.back());
      continue;
    }
    std::vector<float> strengths;
    for (const std::size_t member : layer.members)
      strengths.push_back(strength_of(uses_[state.uses[member]], kind));
    state.patches.at(layer.id).weight = fuse(info, *layer.stack, strengths);
  }
  write_scales(state, kind);
  states_[component] = std::move(state);
}

void AdapterSet::write_scales(const ComponentState& state, weights::Part kind) {
  std::vector<float> strengths;
  for (std::size_t at = 0; at < state.deltas.size(); ++at) {
    strengths.clear();
    for (const std::size_t member : state.stacks->layers[at].members)
      strengths.push_back(strength_of(uses_[state.uses[member]], kind));
    state.deltas[at]->set_scales(strengths);
  }
}

const nn::LayerPatches* AdapterSet::patches(std::size_t component) const {
  const bool touched = component < states_.size() && !states_[component].stacks->layers.empty();
  return touched ? &states_[component].patches : nullptr;
}

void AdapterSet::set_strength(std::size_t index, float denoiser, float text) {
  AdapterUse changed = uses_.at(index);
  changed.denoiser = denoiser;
  changed.text = text;
  check(changed);
  const AdapterUse before = std::exchange(uses_[index], std::move(changed));
  for (std::size_t component = 0; component < components_.size(); ++component) {
    const weights::Part kind = components_[component].part;
    const float then = strength_of(before, kind), now = strength_of(uses_[index], kind);
    if (then == now) continue;
    if (mode_ == Mode::fused || then == 0 || now == 0) {
      rebuild(component);
    } else {
      write_scales(states_[component], kind);
    }
  }
}

std::size_t AdapterSet::find(const std::string& content_hash) const {
  const auto found = std::ranges::find_if(uses_, [&](const AdapterUse& use) {
    return use.adapter->file->content_hash() == content_hash;
  });
  return static_cast<std::size_t>(found - uses_.begin());
}

}  // namespace velatura::lora
