// ComfyUI's prefix inside diffusers', PEFT's around both or not (lora-formats §2.6; InvokeAI
// backend/patches/lora_conversions).
#include "lora/dialects/dialect.h"

namespace velatura::lora {

void add_wrapped_aliases(const ModuleNames& module, const Aliases& aliases) {
  if (!module.is_transformer()) return;
  for (const std::string& path : module.both()) {
    aliases.add("transformer.diffusion_model." + path);
    aliases.add("base_model.model.transformer.diffusion_model." + path);
  }
}

}  // namespace velatura::lora
