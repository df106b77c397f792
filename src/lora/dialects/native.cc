// The authors' own names, bare or behind "transformer.": BFL's control adapters, OneTrainer
// (lora-formats §2.5, §2.6).
#include "lora/dialects/dialect.h"

namespace velatura::lora {

void add_native_aliases(const ModuleNames& module, const Aliases& aliases) {
  if (!module.is_transformer() || module.native.empty()) return;
  aliases.add(module.native);
  aliases.add("transformer." + module.native);
}

}  // namespace velatura::lora
