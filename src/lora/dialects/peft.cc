// PEFT's save_pretrained: dotted paths behind "base_model.model.", around or inside the component's
// name (lora-formats §2.2 G).
#include "lora/dialects/dialect.h"

namespace velatura::lora {

void add_peft_aliases(const ModuleNames& module, const AddAlias& add) {
  const std::string component = module.kind == ComponentKind::denoiser ? "unet." : "text_encoder.";
  add("base_model.model." + module.canonical);
  add(component + "base_model.model." + module.canonical);
  add("base_model.model." + component + module.canonical);
}

}  // namespace velatura::lora
