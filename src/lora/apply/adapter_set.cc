#include "lora/apply/adapter_set.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "base/error.h"
#include "nn/run.h"
#include "ops/low_rank.h"

namespace velatura::lora {

namespace {

float strength_of(const AdapterUse& use, ComponentKind kind) {
  return kind == ComponentKind::denoiser ? use.denoiser : use.text;
}

/// One layer's share of the set: which uses touch it, in the fixed order.
struct Share {
  std::size_t use;
  const ModuleDelta* delta;
};
using Shares = std::map<nn::LayerId, std::vector<Share>>;

std::int64_t used_rank(const AdapterUse& use, const ModuleDelta& delta) {
  return use.ranks > 0 ? std::min(use.ranks, delta.rank()) : delta.rank();
}

void require_finite(float strength, const AdapterUse& use) {
  if (std::isfinite(strength)) return;
  fail(ErrorKind::invalid_argument, "the strength of \"{}\" is not a finite number",
       use.adapter->file->stem());
}

/// W + Σ strength · ΔW in f32, from the pristine weight.
std::shared_ptr<const ops::Weight> fuse(const nn::LayerInfo& layer, std::span<const Share> shares,
                                        std::span<const AdapterUse> uses, ComponentKind kind) {
  Tensor merged = to_f32(layer.weight->original());
  if (merged.storage().data == layer.weight->original().storage().data) merged = merged.clone();
  std::span<float> values = merged.mutable_floats();
  for (const Share& share : shares) {
    const float strength = strength_of(uses[share.use], kind);
    const Tensor delta = share.delta->dense(uses[share.use].ranks);
    const float* added = delta.data<float>();
#pragma omp parallel for
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += strength * added[i];
  }
  return std::make_shared<const ops::Weight>(std::move(merged));
}

}  // namespace

/// All live adapters of one layer as one pair: ranks concatenated, strength · scale of each rank in
/// one vector.
class AdapterSet::LiveStack : public nn::LayerDelta {
 public:
  LiveStack(const nn::LayerInfo& layer, std::vector<Share> shares, std::span<const AdapterUse> uses)
      : shares_(std::move(shares)),
        geometry_(layer.geometry),
        convolution_(layer.kind == nn::LayerKind::conv2d) {
    std::int64_t rank = 0;
    for (const Share& share : shares_) rank += used_rank(uses[share.use], *share.delta);
    const Shape& weight = layer.weight->shape();
    const std::int64_t out = weight[0], columns = weight.count() / out;
    Tensor down = Tensor::allocate(
        convolution_ ? Shape{rank, weight[1], weight[2], weight[3]} : Shape{rank, columns},
        DType::f32);
    Tensor up = Tensor::allocate({out, rank}, DType::f32);
    std::int64_t at = 0;
    for (const Share& share : shares_) {
      const ThinFactors& factors = *share.delta->thin();
      const std::int64_t stored = factors.up.size(1),
                         used = used_rank(uses[share.use], *share.delta);
      std::memcpy(down.mutable_data<float>() + at * columns, factors.down.data<float>(),
                  static_cast<std::size_t>(used * columns) * sizeof(float));
      for (std::int64_t o = 0; o < out; ++o) {
        std::memcpy(up.mutable_data<float>() + o * rank + at, factors.up.data<float>() + o * stored,
                    static_cast<std::size_t>(used) * sizeof(float));
      }
      at += used;
    }
    down_ = std::make_unique<ops::Weight>(std::move(down));
    up_ = std::make_unique<ops::Weight>(std::move(up));
    scales_ = Tensor::allocate({rank}, DType::f32);
  }

  void set_scales(std::span<const AdapterUse> uses, ComponentKind kind) {
    float* scales = scales_.mutable_data<float>();
    for (const Share& share : shares_) {
      const std::int64_t used = used_rank(uses[share.use], *share.delta);
      scales = std::fill_n(scales, used,
                           strength_of(uses[share.use], kind) * share.delta->thin()->scale);
    }
  }

  void add_to(nn::Run& run, const Tensor& x, Tensor& y) const override {
    if (convolution_) {
      ops::low_rank_conv_update(run.ops, x, *down_, scales_, *up_, geometry_, y);
    } else {
      ops::low_rank_update(run.ops, x, *down_, scales_, *up_, y);
    }
  }

 private:
  std::vector<Share> shares_;
  ops::ConvGeometry geometry_;
  bool convolution_;
  std::unique_ptr<ops::Weight> down_, up_;
  Tensor scales_;
};

AdapterSet::AdapterSet(std::span<const Component> components, std::vector<AdapterUse> uses,
                       Mode mode)
    : components_(components.begin(), components.end()), mode_(mode) {
  std::ranges::stable_sort(uses, {}, [](const AdapterUse& use) {
    return std::pair(use.adapter->file->content_hash(), use.ranks);
  });
  for (AdapterUse& use : uses) {
    require_finite(use.denoiser, use);
    require_finite(use.text, use);
    const bool again =
        !uses_.empty() && uses_.back().ranks == use.ranks &&
        uses_.back().adapter->file->content_hash() == use.adapter->file->content_hash();
    if (again) {
      uses_.back().denoiser += use.denoiser;
      uses_.back().text += use.text;
    } else {
      uses_.push_back(std::move(use));
    }
  }
  rebuild();
}

void AdapterSet::rebuild() {
  patches_.clear();
  stacks_.assign(components_.size(), {});
  touched_.assign(components_.size(), false);
  for (std::size_t component = 0; component < components_.size(); ++component) {
    const nn::ModuleTree& tree = *components_[component].tree;
    const ComponentKind kind = components_[component].kind;
    nn::LayerPatches patches(tree.layers().size());
    Shares shares;
    for (std::size_t use = 0; use < uses_.size(); ++use) {
      if (strength_of(uses_[use], kind) == 0.0f) continue;
      for (const BoundModule& module : uses_[use].adapter->modules) {
        if (module.target.component != static_cast<int>(component)) continue;
        shares[module.target.layer].push_back({use, module.delta.get()});
      }
    }
    for (auto& [id, of_layer] : shares) {
      const nn::LayerInfo& layer = tree.layer(id);
      if (mode_ == Mode::fused) {
        patches.at(id).weight = fuse(layer, of_layer, uses_, kind);
      } else {
        auto stack = std::make_shared<LiveStack>(layer, std::move(of_layer), uses_);
        stack->set_scales(uses_, kind);
        stacks_[component].push_back(stack);
        patches.at(id).deltas.push_back(std::move(stack));
      }
    }
    touched_[component] = !shares.empty();
    patches_.push_back(std::move(patches));
  }
}

const nn::LayerPatches* AdapterSet::patches(std::size_t component) const {
  return component < touched_.size() && touched_[component] ? &patches_[component] : nullptr;
}

void AdapterSet::set_strength(std::size_t index, float denoiser, float text) {
  AdapterUse& use = uses_.at(index);
  AdapterUse changed = use;
  changed.denoiser = denoiser;
  changed.text = text;
  require_finite(denoiser, use);
  require_finite(text, use);
  const bool same_layers = (use.denoiser == 0) == (denoiser == 0) && (use.text == 0) == (text == 0);
  use = std::move(changed);
  if (mode_ == Mode::fused || !same_layers) return rebuild();
  for (std::size_t component = 0; component < components_.size(); ++component) {
    for (const auto& stack : stacks_[component])
      stack->set_scales(uses_, components_[component].kind);
  }
}

std::size_t AdapterSet::find(const std::string& content_hash) const {
  for (std::size_t index = 0; index < uses_.size(); ++index) {
    if (uses_[index].adapter->file->content_hash() == content_hash) return index;
  }
  return uses_.size();
}

}  // namespace velatura::lora
