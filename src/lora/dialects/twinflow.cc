// TwinFlow's Z-Image files adapt a second time embedder; an ordinary model has the first alone
// (lora-formats §1.17, §2.6).
#include "lora/dialects/dialect.h"

namespace velatura::lora {

void add_twinflow_aliases(const ModuleNames& module, const Aliases& aliases) {
  constexpr std::string_view kFirst = "t_embedder.";
  if (module.part != weights::Part::z_image || !module.canonical.starts_with(kFirst)) return;
  const std::string second = "t_embedder_2." + module.canonical.substr(kFirst.size());
  for (const char* prefix : {"", "diffusion_model.", "transformer.", "base_model.model."})
    aliases.add(prefix + second);
  aliases.add("lora_unet_" + flatten(second));
  aliases.add("lycoris_" + flatten(second));
}

}  // namespace velatura::lora
