// PEFT's save_pretrained: dotted paths behind "base_model.model.", around or inside the component's
// name (lora-formats §2.2 G).
#include "lora/dialects/dialect.h"

namespace velatura::lora {

void add_peft_aliases(const ModuleNames& module, const Aliases& aliases) {
  const std::string component = !weights::is_text_encoder(module.part) ? "unet." : "text_encoder.";
  for (const std::string& path : module.both()) {
    aliases.add("base_model.model." + path);
    aliases.add(component + "base_model.model." + path);
    aliases.add("base_model.model." + component + path);
  }
}

}  // namespace velatura::lora
