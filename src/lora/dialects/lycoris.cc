// The LyCORIS wrapper's default prefix, as SimpleTuner and others leave it (lora-formats §2.2 Y,
// §2.5, §2.6). Whose tree it went through is not said: denoisers' alone are met.
#include "lora/dialects/dialect.h"

namespace velatura::lora {

void add_lycoris_aliases(const ModuleNames& module, const Aliases& aliases) {
  if (module.part == weights::Part::clip_g) return;  // SDXL's first encoder has the same names
  for (const std::string& path : module.both()) aliases.add("lycoris_" + flatten(path));
}

}  // namespace velatura::lora
