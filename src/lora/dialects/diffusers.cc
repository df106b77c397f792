// diffusers' folders and training scripts, ai-toolkit, DiffSynth: dotted paths behind the
// component's name or bare. Their first text-encoder files call the projections as in UNets
// (lora-formats §2.2 Q, F; §2.3, §2.5, §2.6).
#include <array>
#include <utility>

#include "lora/dialects/dialect.h"

namespace velatura::lora {

namespace {

void add_text_encoder(const ModuleNames& module, const Aliases& aliases) {
  const std::string prefix = std::string(text_encoder_folder(module.part)) + ".";
  aliases.add(prefix + module.canonical);
  // Both of SDXL's encoders spell themselves alike: bare, the first is meant.
  if (module.part != weights::Part::clip_g) aliases.add(module.canonical);
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kOldNames = {
      {{".q_proj", ".to_q"}, {".k_proj", ".to_k"}, {".v_proj", ".to_v"}, {".out_proj", ".to_out"}}};
  for (const auto& [now, then] : kOldNames) {
    if (!module.canonical.ends_with(now)) continue;
    const std::string stem = module.canonical.substr(0, module.canonical.size() - now.size());
    aliases.add(prefix + stem + std::string(then));
  }
}

}  // namespace

void add_diffusers_aliases(const ModuleNames& module, const Aliases& aliases) {
  if (module.canonical.empty()) return;
  if (module.is_text_encoder()) return add_text_encoder(module, aliases);
  aliases.add((module.is_transformer() ? "transformer." : "unet.") + module.canonical);
  aliases.add(module.canonical);
}

}  // namespace velatura::lora
