// "Anime-Z" and relatives, Z-Image files of a converter that made dots of too many underscores:
// "attention.to.q", "attention.to.out" (lora-formats §2.6).
#include "lora/dialects/dialect.h"

namespace velatura::lora {

void add_anime_z_aliases(const ModuleNames& module, const Aliases& aliases) {
  if (module.part != weights::Part::z_image) return;
  const std::size_t at = module.canonical.rfind(".to_");
  if (at == std::string::npos) return;
  const std::string dotted =
      module.canonical.substr(0, at) + ".to." + module.canonical.substr(at + 4);
  for (const char* prefix : {"", "diffusion_model.", "transformer."}) {
    aliases.add(prefix + dotted);
    if (dotted.ends_with(".0")) aliases.add(prefix + dotted.substr(0, dotted.size() - 2));
  }
}

}  // namespace velatura::lora
