#include "lora/bind/family.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace velatura::lora {

namespace {

struct Marker {
  std::string_view part;
  std::string_view family;
};

// First match wins; names are flattened, so that dotted and underscored spellings meet.
constexpr auto kMarkers = std::to_array<Marker>({
    {"lora_controlnet", "ControlNet (a control-LoRA)"},
    {"ip_adapter", "IP-Adapter"},
    {"image_proj", "IP-Adapter"},
    {"llm_adapter", "Anima"},
    {"txtfusion_", "Krea 2"},
    {"double_stream_modulation_", "FLUX.2"},
    {"single_stream_modulation", "FLUX.2"},
    {"joint_blocks", "SD3"},
    {"img_mlp_net", "Qwen-Image"},
    {"txt_mlp_net", "Qwen-Image"},
    {"distilled_guidance_layer", "Chroma"},
    {"individual_token_refiner", "HunyuanVideo"},
    {"single_transformer_blocks", "FLUX.1"},
    {"double_blocks", "FLUX.1"},
    {"single_blocks", "FLUX.1"},
    {"attn_add_q_proj", "FLUX.1"},
    {"transformer_transformer_blocks", "FLUX.1"},
    {"noise_refiner", "Z-Image"},
    {"context_refiner", "Z-Image"},
    {"feed_forward_w1", "Z-Image"},
    {"_attention_to_", "Z-Image"},
    {"_attention_qkv", "Z-Image"},
    {"lora_te2_", "SDXL"},
    {"text_encoder_2", "SDXL"},
    {"clip_g", "SDXL"},
    {"label_emb", "SDXL"},
    {"add_embedding", "SDXL"},
});

std::string_view family_of_text_width(std::int64_t width) {
  switch (width) {
    case 768:
      return "SD 1.x";
    case 1024:
      return "SD 2.x";
    case 2048:
      return "SDXL";
    case 1280:
      return "the SDXL refiner";
    default:
      return {};
  }
}

using ReadsText = bool (*)(std::string_view flat);

/// Cross-attention's keys and values, whose input is the text.
bool is_cross_attention(std::string_view flat) {
  return flat.find("attn2") != flat.npos &&
         (flat.find("to_k") != flat.npos || flat.find("to_v") != flat.npos);
}

/// Projections of the text encoder, as wide as the text it gives.
bool is_text_projection(std::string_view flat) {
  return flat.find("self_attn_") != flat.npos;
}

/// The tensor whose last axis is the layer's input.
const weights::TensorInfo* input_side(const AdapterFile& file, const FileModule& module) {
  for (const Role role : {Role::down, Role::hada_w1_b}) {
    const auto found = module.tensors.find(role);
    if (found == module.tensors.end()) continue;
    const weights::TensorInfo* info = file.source().find(found->second);
    if (info->shape.rank() >= 2) return info;
  }
  return nullptr;
}

OtherFamily by_names(const AdapterFile& file, const NameIndex& names) {
  for (const FileModule& module : file.modules()) {
    if (names.find(module.name) != nullptr) continue;
    const std::string flat = flatten(module.name);
    for (const Marker& marker : kMarkers) {
      if (flat.find(marker.part) != std::string::npos)
        return {std::string(marker.family), fmt::format("\"{}\"", module.tensors.begin()->second)};
    }
  }
  return {};
}

struct WidthVerdict {
  bool asked = false;  ///< the file has such layers
  OtherFamily other;   ///< empty where one of them fits the model
};

WidthVerdict by_text_width(const AdapterFile& file, const NameIndex& names, ReadsText reads_text) {
  WidthVerdict verdict;
  for (const FileModule& module : file.modules()) {
    if (!reads_text(flatten(module.name))) continue;
    const weights::TensorInfo* info = input_side(file, module);
    if (info == nullptr) continue;
    verdict.asked = true;
    const std::int64_t width = info->shape[1];
    if (const NameIndex::Entry* entry = names.find(module.name)) {
      const Shape& weight = entry->placement->weight;
      if (weight.rank() >= 2 && weight[1] == width) return {.asked = true, .other = {}};
    }
    const std::string_view family = family_of_text_width(width);
    if (verdict.other.name.empty() && !family.empty()) {
      verdict.other = {std::string(family), fmt::format("\"{}\" {}, a text width of {}", info->name,
                                                        info->shape.to_string(), width)};
    }
  }
  return verdict;
}

/// Of the first trainer's layout, where widths are all there is: 1024 occurs in SD 2.x alone.
OtherFamily nameless_family(const AdapterFile& file) {
  for (const weights::TensorInfo& info : file.source().tensors()) {
    constexpr std::int64_t kWidth = 1024;
    if (info.shape.rank() == 2 && (info.shape[0] == kWidth || info.shape[1] == kWidth)) {
      return {"SD 2.x",
              fmt::format("\"{}\" {}, a text width of 1024", info.name, info.shape.to_string())};
    }
  }
  return {};
}

}  // namespace

OtherFamily detect_other_family(const AdapterFile& file, std::span<const Component>,
                                const NameIndex& names) {
  if (!nameless_layout(file).empty()) return nameless_family(file);
  if (OtherFamily other = by_names(file, names); !other.name.empty()) return other;
  // A text encoder may fit by chance: SDXL's first one is SD 1.x's. The denoiser decides.
  for (const ReadsText reads_text : {is_cross_attention, is_text_projection}) {
    WidthVerdict verdict = by_text_width(file, names, reads_text);
    if (verdict.asked) return std::move(verdict.other);
  }
  return {};
}

std::string_view nameless_layout(const AdapterFile& file) {
  const auto is_numbered = [](const std::string& name) {
    const bool safetensors = (name.starts_with("unet:") || name.starts_with("text_encoder:")) &&
                             (name.ends_with(":up") || name.ends_with(":down"));
    return safetensors || name.find_first_not_of("0123456789") == std::string::npos;
  };
  return std::ranges::any_of(file.unexplained(), is_numbered)
             ? "the first LoRA trainer's layout, an order instead of names (\"unet:0:up\")"
             : "";
}

}  // namespace velatura::lora
