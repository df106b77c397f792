// Apple's MLX examples: sequences have ".layers." inside, UNets and CLIP names of their own
// (lora-formats §2.5, §6.6; mlx-examples flux/flux/lora.py, stable_diffusion/model_io.py). What
// mflux trains for FLUX.1 has diffusers' names but for three ends (mflux README, DreamBooth
// fine-tuning). Not here: the example UNet's halves of "ff.net.0.proj", linear1 and linear2, which
// no trainer adapts and which are refused by what they are (bind/absent.h).
#include <array>
#include <utility>

#include "lora/dialects/dialect.h"

namespace velatura::lora {

namespace {

using Renames = std::span<const std::pair<std::string_view, std::string_view>>;

/// `path` with the first rename whose end fits.
std::string with_end(const std::string& path, Renames renames) {
  for (const auto& [theirs, mlx] : renames) {
    if (path.ends_with(theirs))
      return path.substr(0, path.size() - theirs.size()) + std::string(mlx);
  }
  return path;
}

void add_flux(const ModuleNames& module, const Aliases& aliases) {
  static constexpr auto kSequences = std::to_array<std::pair<std::string_view, std::string_view>>(
      {{"img_mlp.0", "img_mlp.layers.0"},
       {"img_mlp.2", "img_mlp.layers.2"},
       {"txt_mlp.0", "txt_mlp.layers.0"},
       {"txt_mlp.2", "txt_mlp.layers.2"},
       {"adaLN_modulation.1", "adaLN_modulation.layers.1"}});
  const std::string name = with_end(module.native, kSequences);
  if (name != module.native) aliases.add(name);
  static constexpr auto kMflux = std::to_array<std::pair<std::string_view, std::string_view>>(
      {{"ff.net.0.proj", "ff.linear1"},
       {"ff.net.2", "ff.linear2"},
       {"ff_context.net.0.proj", "ff_context.linear1"},
       {"ff_context.net.2", "ff_context.linear2"},
       {"attn.to_out.0", "attn.to_out"}});
  const std::string mflux = with_end(module.canonical, kMflux);
  if (mflux == module.canonical) return;
  aliases.add(mflux);
  aliases.add("transformer." + mflux);
}

void add_unet(const ModuleNames& module, const Aliases& aliases) {
  static constexpr auto kEnds = std::to_array<std::pair<std::string_view, std::string_view>>(
      {{"to_q", "query_proj"},
       {"to_k", "key_proj"},
       {"to_v", "value_proj"},
       {"to_out.0", "out_proj"},
       {"ff.net.2", "linear3"},
       {"downsamplers.0.conv", "downsample"},
       {"upsamplers.0.conv", "upsample"}});
  static constexpr auto kMiddle = std::to_array<std::pair<std::string_view, std::string_view>>(
      {{"mid_block.resnets.0", "mid_blocks.0"},
       {"mid_block.attentions.0", "mid_blocks.1"},
       {"mid_block.resnets.1", "mid_blocks.2"}});
  std::string name = with_end(module.canonical, kEnds);
  for (const auto& [theirs, mlx] : kMiddle) {
    if (name.starts_with(theirs)) name = std::string(mlx) + name.substr(theirs.size());
  }
  if (name == module.canonical) return;
  aliases.add(name);
  aliases.add("unet." + name);
}

void add_clip(const ModuleNames& module, const Aliases& aliases) {
  static constexpr auto kEnds = std::to_array<std::pair<std::string_view, std::string_view>>(
      {{"self_attn.q_proj", "attention.query_proj"},
       {"self_attn.k_proj", "attention.key_proj"},
       {"self_attn.v_proj", "attention.value_proj"},
       {"self_attn.out_proj", "attention.out_proj"},
       {"mlp.fc1", "linear1"},
       {"mlp.fc2", "linear2"}});
  const std::string name = with_end(module.canonical, kEnds);
  if (name == module.canonical) return;
  const std::string prefix = std::string(text_encoder_folder(module.part)) + ".";
  aliases.add(prefix + name);
  // As the example itself holds it.
  constexpr std::string_view kOuter = "text_model.encoder.";
  if (name.starts_with(kOuter)) aliases.add(prefix + name.substr(kOuter.size()));
}

}  // namespace

void add_mlx_aliases(const ModuleNames& module, const Aliases& aliases) {
  if (module.part == weights::Part::flux) {
    add_flux(module, aliases);
  } else if (module.part == weights::Part::unet) {
    add_unet(module, aliases);
  } else if (module.part == weights::Part::clip_l || module.part == weights::Part::clip_g) {
    add_clip(module, aliases);
  }
}

}  // namespace velatura::lora
