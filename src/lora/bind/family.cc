// Which other model an adapter was made for: names first, then the width of the cross-attention
// inputs (lora-formats §3.3).
#include <fmt/format.h>

#include <array>
#include <utility>

#include "lora/bind/bind.h"

namespace velatura::lora {

namespace {

struct Marker {
  std::string_view part;
  std::string_view family;
};

// First match wins; parts are flattened, so that dotted and underscored spellings meet.
constexpr auto kMarkers = std::to_array<Marker>({
    {"lora_controlnet", "ControlNet (a control-LoRA)"},
    {"ip_adapter", "IP-Adapter"},
    {"image_proj", "IP-Adapter"},
    {"txtfusion_", "Krea 2"},
    {"double_stream_modulation_", "FLUX.2"},
    {"joint_blocks", "SD3"},
    {"img_mlp_net", "Qwen-Image"},
    {"single_transformer_blocks", "FLUX.1"},
    {"double_blocks", "FLUX.1"},
    {"single_blocks", "FLUX.1"},
    {"attn_add_q_proj", "FLUX.1"},
    {"noise_refiner", "Z-Image"},
    {"context_refiner", "Z-Image"},
    {"feed_forward_w1", "Z-Image"},
    {"lora_te2_", "SDXL"},
    {"text_encoder_2", "SDXL"},
    {"label_emb", "SDXL"},
    {"add_embedding", "SDXL"},
});

std::string_view family_of_context_width(std::int64_t width) {
  switch (width) {
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

bool is_cross_attention_input(std::string_view flat) {
  return flat.find("attn2") != std::string_view::npos &&
         (flat.find("to_k") != std::string_view::npos ||
          flat.find("to_v") != std::string_view::npos);
}

}  // namespace

OtherFamily detect_other_family(const AdapterFile& file) {
  for (const FileModule& module : file.modules()) {
    const std::string flat = flatten(module.name);
    for (const Marker& marker : kMarkers) {
      if (flat.find(marker.part) != std::string::npos) {
        return {std::string(marker.family), module.tensors.begin()->second};
      }
    }
  }
  for (const FileModule& module : file.modules()) {
    const auto down = module.tensors.find(Role::down);
    if (down == module.tensors.end() || !is_cross_attention_input(flatten(module.name))) continue;
    const Shape shape = file.source().find(down->second)->shape;
    if (shape.rank() < 2) continue;
    const std::string_view family = family_of_context_width(shape[1]);
    if (!family.empty())
      return {std::string(family), fmt::format("{} {}", down->second, shape.to_string())};
  }
  return {};
}

}  // namespace velatura::lora
