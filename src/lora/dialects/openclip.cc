// SDXL's second text encoder by OpenCLIP's own names, its fused projection among them (lora-formats
// §2.3).
#include "lora/dialects/dialect.h"

namespace velatura::lora {

void add_openclip_aliases(const ModuleNames& module, const Aliases& aliases) {
  if (module.part != weights::Part::clip_g || module.native.empty()) return;
  aliases.add("lora_te2_" + flatten(module.native));
  aliases.add("clip_g." + module.native);
  aliases.add("text_encoders.clip_g.transformer." + module.native);
  aliases.add("text_encoder_2." + module.native);
  aliases.add("conditioner.embedders.1.model." + module.native);
}

}  // namespace velatura::lora
