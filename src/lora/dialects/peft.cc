// PEFT's save_pretrained: dotted paths behind "base_model.model.", around or inside the component's
// name (lora-formats §2.2 G).
#include "lora/dialects/dialect.h"

namespace velatura::lora {

void add_peft_aliases(const ModuleNames& module, const AddAlias& add) {
  const std::string component = module.kind == ComponentKind::denoiser ? "unet." : "text_encoder.";
  for (const std::string& path : {module.canonical, module.native}) {
    add("base_model.model." + path);
    add(component + "base_model.model." + path);
    add("base_model.model." + component + path);
  }
}

}  // namespace velatura::lora
