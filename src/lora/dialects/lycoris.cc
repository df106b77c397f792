// The LyCORIS wrapper's default prefix, as SimpleTuner and others leave it (lora-formats §2.2 Y).
#include "lora/dialects/dialect.h"

namespace velatura::lora {

void add_lycoris_aliases(const ModuleNames& module, const Aliases& aliases) {
  for (const std::string& path : module.both()) aliases.add("lycoris_" + flatten(path));
}

}  // namespace velatura::lora
