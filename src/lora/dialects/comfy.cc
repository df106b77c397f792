// ComfyUI: dotted single-file names as its own extraction node and OneTrainer write them
// (lora-formats §2.2 C, §2.3).
#include "lora/dialects/dialect.h"

namespace velatura::lora {

void add_comfy_aliases(const ModuleNames& module, const AddAlias& add) {
  if (module.kind == ComponentKind::denoiser) {
    add("diffusion_model." + module.native);
    add("diffusion_model." + module.canonical);
    add("model.diffusion_model." + module.native);
  } else {
    add("text_encoders.clip_l.transformer." + module.canonical);
    add("clip_l." + module.canonical);
  }
}

}  // namespace velatura::lora
