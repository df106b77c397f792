// The authors' own names, bare or behind "transformer.": BFL's control adapters, OneTrainer; those
// of UNets bare alone, as OneTrainer's ORIGINAL form has them (lora-formats §2.5, §2.6; OneTrainer
// modules/modelSaver/mixin/LoRASaverMixin.py).
#include "lora/dialects/dialect.h"

namespace velatura::lora {

void add_native_aliases(const ModuleNames& module, const Aliases& aliases) {
  if (module.is_text_encoder() || module.native.empty()) return;
  aliases.add(module.native);
  if (module.is_transformer()) aliases.add("transformer." + module.native);
}

}  // namespace velatura::lora
