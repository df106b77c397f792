// PEFT's save_pretrained: dotted paths behind "base_model.model.", around or inside the component's
// name, in either naming: fal's FLUX.1 files have the native one (lora-formats §2.2 G, §2.5, §2.6).
#include "lora/dialects/dialect.h"

namespace velatura::lora {

void add_peft_aliases(const ModuleNames& module, const Aliases& aliases) {
  const std::string prefix = "base_model.model.";
  std::string component = module.is_transformer() ? "transformer." : "unet.";
  if (module.is_text_encoder()) component = std::string(text_encoder_folder(module.part)) + ".";
  for (const std::string& path : module.both()) {
    if (module.part != weights::Part::clip_g) aliases.add(prefix + path);
    aliases.add(component + prefix + path);
    aliases.add(prefix + component + path);
  }
}

}  // namespace velatura::lora
