// OneTrainer: flattened diffusers paths behind "lora_transformer_", BFL's fused projections as
// numbered slices ("….qkv.0", "….linear1.3"), encoders called t5 (lora-formats §2.3, §2.5).
#include "lora/dialects/dialect.h"

namespace velatura::lora {

void add_onetrainer_aliases(const ModuleNames& module, const Aliases& aliases) {
  if (module.part == weights::Part::t5) return aliases.add("t5." + module.canonical);
  if (!module.is_transformer()) return;
  for (const std::string& path : module.both()) aliases.add("lora_transformer_" + flatten(path));
  for (int slice = 0; module.slices > 1 && slice < module.slices; ++slice) {
    for (const char* prefix : {"", "transformer.", "diffusion_model."})
      aliases.add_slices(prefix + module.native + "." + std::to_string(slice), slice, 1);
  }
}

}  // namespace velatura::lora
