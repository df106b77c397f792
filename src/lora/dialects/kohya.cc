// kohya's sd-scripts and LyCORIS inside it: prefix and the flattened path, in diffusers' or in
// single-file naming (lora-formats §2.2 K-D, K-L, X; §2.3). A converter in the wild doubled the
// prefix.
#include "lora/dialects/dialect.h"

namespace velatura::lora {

void add_kohya_aliases(const ModuleNames& module, const AddAlias& add) {
  if (module.kind == ComponentKind::denoiser) {
    add("lora_unet_" + flatten(module.canonical));
    add("lora_unet_" + flatten(module.native));
    add("lora_unet_unet_" + flatten(module.canonical));
  } else {
    add("lora_te_" + flatten(module.canonical));
    add("lora_te1_" + flatten(module.canonical));
  }
}

}  // namespace velatura::lora
