// The LyCORIS wrapper's default prefix, as SimpleTuner and others leave it (lora-formats §2.2 Y).
#include "lora/dialects/dialect.h"

namespace velatura::lora {

void add_lycoris_aliases(const ModuleNames& module, const AddAlias& add) {
  add("lycoris_" + flatten(module.canonical));
  if (module.kind == ComponentKind::denoiser) add("lycoris_" + flatten(module.native));
}

}  // namespace velatura::lora
