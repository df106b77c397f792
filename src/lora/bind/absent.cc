#include "lora/bind/absent.h"

#include <algorithm>
#include <array>

namespace velatura::lora {

using weights::Part;

std::span<const AbsentModule> absent_modules() {
  constexpr std::string_view kGuidance =
      "the model has no guidance embedder (FLUX.1 schnell): this part has no effect";
  static constexpr auto kModules = std::to_array<AbsentModule>({
      {Part::flux, "time_text_embed.guidance_embedder.linear_1", "guidance_in.in_layer", kGuidance},
      {Part::flux, "time_text_embed.guidance_embedder.linear_2", "guidance_in.out_layer",
       kGuidance},
      {Part::z_image, "", "norm_final", "the model does not use this layer: it has no effect"},
      {Part::clip_l, "text_projection", "",
       "the model does not use this encoder's projection: it has no effect"},
      {Part::clip_g, "text_projection", "",
       "the loaded encoder has no projection: this part has no effect"},
  });
  return kModules;
}

std::string_view unloaded_text_encoder(std::string_view module,
                                       std::span<const Component> components) {
  struct Row {
    std::string_view prefix;
    Part first, second;  ///< what the prefix may mean
  };
  static constexpr auto kPrefixes = std::to_array<Row>({
      {"lora_te_", Part::clip_l, Part::qwen3},
      {"lora_te1_", Part::clip_l, Part::qwen3},
      {"lora_te2_", Part::clip_g, Part::t5},
      {"lora_te3_", Part::t5, Part::t5},
      {"lora_te.", Part::clip_l, Part::qwen3},
      {"lora_te1.", Part::clip_l, Part::qwen3},
      {"lora_te2.", Part::clip_g, Part::t5},
      {"lora_te3.", Part::t5, Part::t5},
      {"text_encoder.", Part::clip_l, Part::qwen3},
      {"text_encoder_2.", Part::clip_g, Part::t5},
      {"base_model.model.text_encoder.", Part::clip_l, Part::qwen3},
      {"base_model.model.text_encoder_2.", Part::clip_g, Part::t5},
      {"text_encoders.clip_l.", Part::clip_l, Part::clip_l},
      {"text_encoders.clip_g.", Part::clip_g, Part::clip_g},
      {"text_encoders.t5xxl.", Part::t5, Part::t5},
      {"text_encoders.qwen3_4b.", Part::qwen3, Part::qwen3},
      {"clip_l.", Part::clip_l, Part::clip_l},
      {"clip_g.", Part::clip_g, Part::clip_g},
      {"t5.", Part::t5, Part::t5},
      {"t5xxl.", Part::t5, Part::t5},
  });
  const auto has = [&](Part part) {
    return std::ranges::find(components, part, &Component::part) != components.end();
  };
  for (const Row& row : kPrefixes) {
    if (module.starts_with(row.prefix) && !has(row.first) && !has(row.second))
      return "of a text encoder that is not loaded: it has no effect here";
  }
  return {};
}

std::string_view harmless_extra(std::string_view module) {
  // Written for every block, whether it has such layers or not.
  constexpr std::string_view kSingle = "single_transformer_blocks.";
  const std::size_t at = module.find(kSingle);
  if (at != module.npos) {
    for (const std::string_view end : {".attn.processor.to_out", ".attn.processor.to_q_proj",
                                       ".attn.processor.to_k_proj", ".attn.processor.to_v_proj"}) {
      if (module.ends_with(end))
        return "T-LoRA's trainer writes it for every block, and FLUX.1's single ones have no such "
               "layer: it has no effect. Trained with --tlora, fewer ranks act at early steps, "
               "which the file does not hold: all are used in every step";
    }
  }
  for (const std::string_view part : {"siglip_embedder", "siglip_refiner"}) {
    if (module.find(part) != module.npos)
      return "of Z-Image-Omni's reader of pictures, which the model lacks: it has no effect";
  }
  return {};
}

std::string_view known_misfit(std::string_view module) {
  if (module.find("transformer_blocks.") != module.npos &&
      module.find("attentions.") != module.npos &&
      (module.ends_with(".linear1") || module.ends_with(".linear2")))
    return "half of \"ff.net.0.proj\" as MLX's UNet holds it, values apart from gates: halves of a "
           "layer are not adapted";
  return {};
}

}  // namespace velatura::lora
