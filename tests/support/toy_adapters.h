// A model of a few layers and adapter files made in memory, for tests of binding and applying.
// Header-only: only tests of rooms that know lora use it.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lora/bind/bind.h"
#include "tests/support/memory_source.h"
#include "tests/support/tensors.h"

namespace velatura::testing {

/// A denoiser with attention projections, a convolution, a pointwise one and a norm; a text encoder
/// with one projection. Names are SD 1.x's, sizes are no model's.
class ToyModel {
 public:
  static constexpr std::int64_t kIn = 6, kOut = 8, kText = 5;
  inline static const std::string kBlock = "down_blocks.0.attentions.0.transformer_blocks.0.";
  inline static const std::string kQuery = kBlock + "attn1.to_q";
  inline static const std::string kOutput = kBlock + "attn1.to_out.0";
  inline static const std::string kKey = kBlock + "attn2.to_k";
  inline static const std::string kConv = "down_blocks.0.resnets.0.conv1";
  inline static const std::string kPointwise = "down_blocks.0.attentions.0.proj_in";
  inline static const std::string kNorm = "down_blocks.0.resnets.0.norm1";
  inline static const std::string kTextQuery = "text_model.encoder.layers.0.self_attn.q_proj";

  ToyModel() {
    add(unet_, kQuery, nn::LayerKind::linear, {kOut, kIn});
    add(unet_, kOutput, nn::LayerKind::linear, {kOut, kIn});
    add(unet_, kKey, nn::LayerKind::linear, {kOut, kText});
    add(unet_, kConv, nn::LayerKind::conv2d, {kOut, kIn, 3, 3}, ops::ConvGeometry::same(3));
    add(unet_, kPointwise, nn::LayerKind::conv2d, {kOut, kIn, 1, 1}, ops::ConvGeometry::same(1));
    add(unet_, kNorm, nn::LayerKind::norm, {kIn});
    add(text_, kTextQuery, nn::LayerKind::linear, {kText, kText});
    const std::string native = "input_blocks.1.";
    components_ = {lora::component_of(
                       "unet", weights::Part::unet, unet_,
                       {{.canonical = kQuery + ".weight",
                         .file = native + "1.transformer_blocks.0.attn1.to_q.weight"},
                        {.canonical = kConv + ".weight", .file = native + "0.in_layers.2.weight"}}),
                   lora::component_of("te", weights::Part::clip_l, text_, {})};
    names_ = std::make_unique<lora::NameIndex>(components_);
  }

  const std::vector<lora::Component>& components() const { return components_; }
  const lora::NameIndex& names() const { return *names_; }
  const nn::ModuleTree& unet() const { return unet_; }
  const nn::LayerInfo& layer(const std::string& path) const {
    return unet_.layer(unet_.find(path).value());
  }

  /// `source` as a file of that name, bound.
  std::shared_ptr<const lora::BoundAdapter> bind(MemorySource source,
                                                 const std::string& name = "toy") const {
    auto file = lora::AdapterFile::from_source(
        std::make_shared<const MemorySource>(std::move(source)), name + ".safetensors");
    return lora::bind(std::move(file), components_, *names_);
  }

 private:
  static void add(nn::ModuleTree& tree, const std::string& path, nn::LayerKind kind,
                  const Shape& shape, const ops::ConvGeometry& geometry = {}) {
    const auto seed = static_cast<std::uint64_t>(tree.layers().size());
    tree.add(
        {.path = path,
         .kind = kind,
         .weight = std::make_shared<const ops::Weight>(uniform_tensor(shape, DType::f32, seed)),
         .bias = {},
         .geometry = geometry});
  }

  nn::ModuleTree unet_, text_;
  std::vector<lora::Component> components_;
  std::unique_ptr<lora::NameIndex> names_;
};

inline Tensor scalar(float value) {
  return Tensor::from(std::vector<float>{value}, {});
}

/// A pair for a [out, in] layer under `module` with kohya's suffixes.
inline MemorySource& add_pair(MemorySource& source, const std::string& module, std::int64_t rank,
                              std::int64_t out, std::int64_t in, std::uint64_t seed = 1,
                              DType type = DType::f32) {
  source.add(module + ".lora_down.weight", uniform_tensor({rank, in}, type, seed));
  return source.add(module + ".lora_up.weight", uniform_tensor({out, rank}, type, seed + 1));
}

}  // namespace velatura::testing
