// kohya's sd-scripts and LyCORIS inside it: prefix and the flattened path, in diffusers' or in
// single-file naming (lora-formats §2.2 K-D, K-L, X; §2.3). A converter in the wild doubled the
// prefix.
#include "lora/dialects/dialect.h"

namespace velatura::lora {

void add_kohya_aliases(const ModuleNames& module, const Aliases& aliases) {
  if (!weights::is_text_encoder(module.part)) {
    for (const std::string& path : module.both()) {
      aliases.add("lora_unet_" + flatten(path));
      aliases.add("lora_unet_unet_" + flatten(path));
    }
  } else {
    aliases.add("lora_te_" + flatten(module.canonical));
    aliases.add("lora_te1_" + flatten(module.canonical));
  }
}

}  // namespace velatura::lora
