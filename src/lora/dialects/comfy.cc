// ComfyUI: dotted single-file names as its own extraction node and OneTrainer write them
// (lora-formats §2.2 C, §2.3).
#include "lora/dialects/dialect.h"

namespace velatura::lora {

void add_comfy_aliases(const ModuleNames& module, const Aliases& aliases) {
  if (!weights::is_text_encoder(module.part)) {
    for (const std::string& path : module.both()) aliases.add("diffusion_model." + path);
    if (!module.native.empty()) aliases.add("model.diffusion_model." + module.native);
  } else if (!module.canonical.empty()) {
    aliases.add("text_encoders.clip_l.transformer." + module.canonical);
    aliases.add("clip_l." + module.canonical);
  }
}

}  // namespace velatura::lora
