// ComfyUI's prefix inside diffusers' (lora-formats §2.6).
#include "lora/dialects/dialect.h"

namespace velatura::lora {

void add_wrapped_aliases(const ModuleNames& module, const Aliases& aliases) {
  if (!module.is_transformer()) return;
  for (const std::string& path : module.both()) aliases.add("transformer.diffusion_model." + path);
}

}  // namespace velatura::lora
