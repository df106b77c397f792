// A model of one layer of each kind that can run, and adapters of every live form for it, for tests
// of applying. Header-only: only tests of rooms that know lora use it.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lora/bind/bind.h"
#include "nn/conv2d.h"
#include "nn/embedding.h"
#include "nn/norm.h"
#include "tests/support/memory_source.h"
#include "tests/support/tensors.h"

namespace velatura::testing {

/// What was asked of files: tensors read, and forms that a backend made of a base weight.
struct SourceCounts {
  std::atomic<int> loads = 0, forms = 0;
};

/// A source that counts. Layers let their pages go, through release(), whenever a form was made.
class CountingSource : public MemorySource {
 public:
  CountingSource(const MemorySource& source, std::shared_ptr<SourceCounts> counts)
      : MemorySource(source), counts_(std::move(counts)) {}
  Tensor load(std::string_view name) const override {
    ++counts_->loads;
    return MemorySource::load(name);
  }
  void release(std::string_view) const override { ++counts_->forms; }

 private:
  std::shared_ptr<SourceCounts> counts_;
};

/// A denoiser under names of SD 1.x whose layers read the same picture and text, side by side, and
/// a text encoder of a table and a projection. `releases` counts the backends' forms of base
/// weights.
class MixedModel {
 public:
  static constexpr std::int64_t kChannels = 8, kText = 6, kWords = 5;
  inline static const std::string kBlock = "down_blocks.0.attentions.0.transformer_blocks.0.";
  inline static const std::string kQuery = kBlock + "attn1.to_q";
  inline static const std::string kKey = kBlock + "attn2.to_k";
  inline static const std::string kNorm = kBlock + "norm1";
  inline static const std::string kConv = "down_blocks.0.resnets.0.conv1";
  inline static const std::string kDown = "down_blocks.0.downsamplers.0.conv";
  inline static const std::string kTable = "text_model.embeddings.token_embedding";
  inline static const std::string kProjection = "text_model.encoder.layers.0.self_attn.q_proj";

  MixedModel()
      : source_(std::make_shared<const CountingSource>(make_source(), counts_)),
        query_(at("down_blocks.0.attentions.0.transformer_blocks.0.attn1"), "to_q", kChannels,
               kChannels),
        key_(at("down_blocks.0.attentions.0.transformer_blocks.0.attn2"), "to_k", kText, kChannels,
             nn::Bias::without),
        norm_(at("down_blocks.0.attentions.0.transformer_blocks.0"), "norm1", kChannels, 1e-5f),
        conv_(at("down_blocks.0.resnets.0"), "conv1", nn::Conv2dShape::same(kChannels, kChannels)),
        down_(at("down_blocks.0.downsamplers.0"), "conv", halving()),
        table_({weights::Scope(source_, "text_model.embeddings."), &text_}, "token_embedding",
               kWords, kText),
        projection_({weights::Scope(source_, "text_model.encoder.layers.0.self_attn."), &text_},
                    "q_proj", kText, kText) {
    components_ = {lora::component_of("unet", weights::Part::unet, unet_, {}),
                   lora::component_of("te", weights::Part::clip_l, text_, {})};
    names_ = std::make_unique<lora::NameIndex>(components_);
  }
  MixedModel(const MixedModel&) = delete;
  MixedModel& operator=(const MixedModel&) = delete;

  const std::vector<lora::Component>& components() const { return components_; }
  const lora::NameIndex& names() const { return *names_; }
  const nn::ModuleTree& unet() const { return unet_; }
  const SourceCounts& counts() const { return *counts_; }
  const nn::LayerInfo& layer(const std::string& path) const {
    return unet_.layer(unet_.find(path).value());
  }

  /// One output a layer, of a picture f32 [N, H, W, kChannels] and words f32 [N, L, kText].
  struct Output {
    std::string path;
    Tensor y;
  };
  std::vector<Output> forward(nn::Run& run, const Tensor& picture, const Tensor& words) const {
    const Tensor tokens =
        picture.reshaped({picture.size(0), picture.size(1) * picture.size(2), picture.size(3)});
    return {{kQuery, query_.forward(run, tokens).clone()},
            {kKey, key_.forward(run, words).clone()},
            {kNorm, norm_.forward(run, tokens).clone()},
            {kConv, conv_.forward(run, picture).clone()},
            {kDown, down_.forward(run, picture).clone()}};
  }
  /// Of the text encoder.
  Tensor encode(nn::Run& run) const {
    Tensor ids = Tensor::allocate({1, kWords}, DType::i64);
    for (std::int64_t i = 0; i < kWords; ++i) ids.mutable_data<std::int64_t>()[i] = i;
    return projection_.forward(run, table_.forward(run, ids)).clone();
  }

  std::shared_ptr<const lora::BoundAdapter> bind(const MemorySource& source,
                                                 const std::string& name) const {
    auto file = lora::AdapterFile::from_source(
        std::make_shared<const CountingSource>(source, counts_), name + ".safetensors");
    return lora::bind(std::move(file), components_, *names_);
  }

 private:
  static nn::Conv2dShape halving() {
    nn::Conv2dShape shape = nn::Conv2dShape::same(kChannels, kChannels);
    shape.geometry.stride = 2;
    return shape;
  }
  static MemorySource make_source() {
    MemorySource source;
    std::uint64_t seed = 900;
    const auto add = [&](const std::string& path, const Shape& weight, bool with_bias) {
      source.add(path + ".weight", uniform_tensor(weight, DType::f32, ++seed));
      if (with_bias) source.add(path + ".bias", uniform_tensor({weight[0]}, DType::f32, ++seed));
    };
    add(kQuery, {kChannels, kChannels}, true);
    add(kKey, {kChannels, kText}, false);
    add(kNorm, {kChannels}, true);
    add(kConv, {kChannels, kChannels, 3, 3}, true);
    add(kDown, {kChannels, kChannels, 3, 3}, true);
    add(kTable, {kWords, kText}, false);
    add(kProjection, {kText, kText}, true);
    return source;
  }
  nn::Scope at(const std::string& path) { return {weights::Scope(source_, path + "."), &unet_}; }

  std::shared_ptr<SourceCounts> counts_ = std::make_shared<SourceCounts>();
  std::shared_ptr<const MemorySource> source_;
  nn::ModuleTree unet_, text_;
  nn::Linear query_, key_;
  nn::LayerNorm norm_;
  nn::Conv2d conv_, down_;
  nn::Embedding table_;
  nn::Linear projection_;
  std::vector<lora::Component> components_;
  std::unique_ptr<lora::NameIndex> names_;
};

/// Small values: adapters change weights, they do not drown them.
inline Tensor small_tensor(const Shape& shape, std::uint64_t seed) {
  Tensor values = uniform_tensor(shape, DType::f32, seed);
  for (float& value : values.mutable_floats()) value *= 0.4f;
  return values;
}

/// Adds one module of a kind to a file; `path` is canonical, of MixedModel's denoiser.
struct MixedModules {
  MemorySource& source;
  std::uint64_t seed;
  static constexpr std::int64_t kC = MixedModel::kChannels;

  MixedModules& add(const std::string& path, const std::string& suffix, const Shape& shape) {
    source.add("unet." + path + suffix, small_tensor(shape, ++seed));
    return *this;
  }
  MixedModules& lora(const std::string& path, std::int64_t columns, std::int64_t rank = 3) {
    return add(path, ".lora_down.weight", {rank, columns}).add(path, ".lora_up.weight", {kC, rank});
  }
  MixedModules& loha(const std::string& path, std::int64_t columns) {
    return add(path, ".hada_w1_a", {kC, 2})
        .add(path, ".hada_w1_b", {2, columns})
        .add(path, ".hada_w2_a", {kC, 2})
        .add(path, ".hada_w2_b", {2, columns});
  }
  MixedModules& lokr(const std::string& path) {
    return add(path, ".lokr_w1", {2, 4}).add(path, ".lokr_w2", {4, 2});
  }
  MixedModules& tucker(const std::string& path) {
    return add(path, ".lora_down.weight", {2, kC, 1, 1})
        .add(path, ".lora_mid.weight", {2, 2, 3, 3})
        .add(path, ".lora_up.weight", {kC, 2, 1, 1});
  }
  MixedModules& dora(const std::string& path, std::int64_t columns) {
    return lora(path, columns).add(path, ".dora_scale", {kC, 1});
  }
  /// Butterfly rotations: not linear in strength.
  MixedModules& boft(const std::string& path) { return add(path, ".oft_blocks", {2, 2, 4, 4}); }
  MixedModules& bias(const std::string& path) { return add(path, ".diff_b", {kC}); }
  MixedModules& norm(const std::string& path) {
    return add(path, ".w_norm", {kC}).add(path, ".b_norm", {kC});
  }
  MixedModules& full(const std::string& path, const Shape& shape) {
    return add(path, ".diff", shape);
  }
  MixedModules& set(const std::string& path, const Shape& shape) {
    return add(path, ".set_weight", shape);
  }
};

/// Three adapters that, together, take every live form on MixedModel: LoRA, LoHa, LoKr, Tucker,
/// DoRA, BOFT, full, norm and bias differences, and something for the text encoder.
inline std::vector<std::shared_ptr<const lora::BoundAdapter>> mixed_adapters(
    const MixedModel& model) {
  using M = MixedModel;
  constexpr std::int64_t kKernel = M::kChannels * 9;
  MemorySource a, b, c;
  MixedModules{a, 100}
      .lora(M::kQuery, M::kChannels)
      .loha(M::kConv, kKernel)
      .norm(M::kNorm)
      .lora(M::kKey, M::kText)
      .boft(M::kDown);
  a.add("text_encoder." + M::kProjection + ".lora_A.weight", small_tensor({2, M::kText}, 181));
  a.add("text_encoder." + M::kProjection + ".lora_B.weight", small_tensor({M::kText, 2}, 182));
  MixedModules{b, 200}
      .lokr(M::kQuery)
      .tucker(M::kConv)
      .bias(M::kConv)
      .dora(M::kKey, M::kText)
      .lora(M::kDown, kKernel);
  b.add("text_encoder." + M::kTable + ".diff", small_tensor({M::kWords, M::kText}, 281));
  MixedModules{c, 300}
      .dora(M::kQuery, M::kChannels)
      .lora(M::kConv, kKernel, 2)
      .full(M::kDown, {M::kChannels, M::kChannels, 3, 3})
      .norm(M::kNorm);
  return {model.bind(a, "ash"), model.bind(b, "birch"), model.bind(c, "cedar")};
}

}  // namespace velatura::testing
