// The first diffusers generation (2023): adapters as attention processors,
// "….attn1.processor.to_out" for what is "….attn1.to_out.0" (lora-formats §2.2 P). With and without
// "unet.". T-LoRA's trainer has them for FLUX.1 as well, "….attn.processor.to_q_proj" for what is
// "….attn.add_q_proj" (T-LoRA flux/model/lora.py).
#include "lora/dialects/dialect.h"

namespace velatura::lora {

namespace {

void add_flux(const ModuleNames& module, const Aliases& aliases) {
  constexpr std::string_view kAttention = ".attn.", kAdded = "add_", kOut = "to_out.0";
  const std::size_t at = module.canonical.rfind(kAttention);
  if (at == std::string::npos) return;
  std::string last = module.canonical.substr(at + kAttention.size());
  if (last.starts_with(kAdded)) {
    last = "to_" + last.substr(kAdded.size());  // add_q_proj
  } else if (last == kOut) {
    last = "to_out";
  } else if (last != "to_q" && last != "to_k" && last != "to_v") {
    return;
  }
  const std::string name = module.canonical.substr(0, at) + ".attn.processor." + last;
  aliases.add("transformer." + name);
  aliases.add(name);
}

}  // namespace

void add_processor_aliases(const ModuleNames& module, const Aliases& aliases) {
  if (module.part == weights::Part::flux) return add_flux(module, aliases);
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
