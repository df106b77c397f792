#include "lora/bind/component.h"

#include <array>
#include <unordered_map>

#include "base/error.h"

namespace velatura::lora {

namespace {

constexpr std::string_view kWeightEnd = ".weight";
constexpr std::string_view kBiasEnd = ".bias";

bool is_embedding(std::string_view path) {
  constexpr auto kNames =
      std::to_array<std::string_view>({"token_embedding", "position_embedding", "embed_tokens",
                                       "shared", "relative_attention_bias"});
  const std::string_view last = path.substr(path.rfind('.') + 1);
  for (const std::string_view name : kNames) {
    if (last == name) return true;
  }
  return false;
}

nn::LayerKind kind_of(std::string_view path, const Shape& weight) {
  if (weight.rank() == 4) return nn::LayerKind::conv2d;
  if (weight.rank() == 1) return nn::LayerKind::norm;
  if (weight.rank() != 2) return nn::LayerKind::parameter;
  return is_embedding(path) ? nn::LayerKind::embedding : nn::LayerKind::linear;
}

Tensor load_f32(const Component& component, const std::string& name, const Shape& shape) {
  if (component.weights == nullptr) {
    fail(ErrorKind::unsupported,
         "\"{}\" depends on the weights of {}, of which only the names are known: give the model",
         name, component.name);
  }
  // The source may be mapped: a copy of its own outlives the caller's changes.
  return to_f32(component.weights->load(name)).reshaped(shape);
}

}  // namespace

std::string ModuleShape::weight_name() const {
  return kind == nn::LayerKind::parameter ? path : path + std::string(kWeightEnd);
}

Component component_of(std::string name, weights::Part part, const nn::ModuleTree& tree,
                       weights::NameMap native) {
  Component component{.name = std::move(name),
                      .part = part,
                      .modules = {},
                      .native = std::move(native),
                      .tree = &tree};
  for (const nn::LayerInfo& layer : tree.layers()) {
    component.modules.push_back({.path = layer.path,
                                 .kind = layer.kind,
                                 .weight = layer.weight->shape(),
                                 .has_bias = layer.bias.defined()});
  }
  return component;
}

Component component_of(std::string name, weights::Part part,
                       std::span<const weights::TensorInfo> parameters, weights::NameMap native,
                       std::shared_ptr<const weights::Source> weights) {
  Component component{.name = std::move(name),
                      .part = part,
                      .modules = {},
                      .native = std::move(native),
                      .weights = std::move(weights)};
  std::unordered_map<std::string, std::size_t> by_path;
  for (const weights::TensorInfo& info : parameters) {
    if (info.name.ends_with(kBiasEnd)) continue;
    ModuleShape module{.path = info.name,
                       .kind = nn::LayerKind::parameter,
                       .weight = info.shape,
                       .has_bias = false};
    if (info.name.ends_with(kWeightEnd)) {
      module.path.resize(info.name.size() - kWeightEnd.size());
      module.kind = kind_of(module.path, info.shape);
    }
    by_path.emplace(module.path, component.modules.size());
    component.modules.push_back(std::move(module));
  }
  for (const weights::TensorInfo& info : parameters) {
    if (!info.name.ends_with(kBiasEnd)) continue;
    const auto found = by_path.find(info.name.substr(0, info.name.size() - kBiasEnd.size()));
    if (found != by_path.end()) component.modules[found->second].has_bias = true;
  }
  return component;
}

std::string_view peft_component(const Component& component) {
  switch (component.part) {
    case weights::Part::unet:
      return "unet";
    case weights::Part::flux:
    case weights::Part::z_image:
      return "transformer";
    case weights::Part::clip_l:
    case weights::Part::qwen3:
      return "text_encoder";
    case weights::Part::clip_g:
    case weights::Part::t5:
      return "text_encoder_2";
  }
  return "unet";
}

Tensor pristine_weight(const Component& component, nn::LayerId layer) {
  if (component.tree != nullptr) return to_f32(component.tree->layer(layer).weight->original());
  const ModuleShape& module = component.modules.at(static_cast<std::size_t>(layer));
  return load_f32(component, module.weight_name(), module.weight);
}

Tensor pristine_bias(const Component& component, nn::LayerId layer) {
  const ModuleShape& module = component.modules.at(static_cast<std::size_t>(layer));
  if (!module.has_bias) return {};
  if (component.tree != nullptr) return to_f32(component.tree->layer(layer).bias);
  return load_f32(component, module.path + std::string(kBiasEnd), Shape{module.weight[0]});
}

}  // namespace velatura::lora
