// diffusers' folders and training scripts: dotted paths behind the component's name or bare. Its
// first text-encoder files call the projections as in UNets (lora-formats §2.2 Q, F; §2.3).
#include <array>
#include <utility>

#include "lora/dialects/dialect.h"

namespace velatura::lora {

void add_diffusers_aliases(const ModuleNames& module, const Aliases& aliases) {
  if (module.canonical.empty()) return;
  if (!weights::is_text_encoder(module.part)) {
    aliases.add("unet." + module.canonical);
    aliases.add(module.canonical);
    return;
  }
  aliases.add("text_encoder." + module.canonical);
  aliases.add(module.canonical);
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kOldNames = {
      {{".q_proj", ".to_q"}, {".k_proj", ".to_k"}, {".v_proj", ".to_v"}, {".out_proj", ".to_out"}}};
  for (const auto& [now, then] : kOldNames) {
    if (!module.canonical.ends_with(now)) continue;
    const std::string stem = module.canonical.substr(0, module.canonical.size() - now.size());
    aliases.add("text_encoder." + stem + std::string(then));
  }
}

}  // namespace velatura::lora
