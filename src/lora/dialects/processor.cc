// The first diffusers generation (2023): adapters as attention processors,
// "….attn1.processor.to_out" for what is "….attn1.to_out.0" (lora-formats §2.2 P). With and without
// "unet.".
#include "lora/dialects/dialect.h"

namespace velatura::lora {

void add_processor_aliases(const ModuleNames& module, const Aliases& aliases) {
  if (module.part != weights::Part::unet) return;
  const std::size_t at = module.canonical.rfind(".to_");
  if (at == std::string::npos) return;
  std::string last = module.canonical.substr(at + 1);
  if (last == "to_out.0") last = "to_out";
  const std::string name = module.canonical.substr(0, at) + ".processor." + last;
  aliases.add("unet." + name);
  aliases.add(name);
}

}  // namespace velatura::lora
