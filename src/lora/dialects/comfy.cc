// ComfyUI: dotted names as its own extraction node, diffusion-pipe, ai-toolkit and OneTrainer write
// them (lora-formats §2.2 C, §2.3, §2.5, §2.6).
#include "lora/dialects/dialect.h"

namespace velatura::lora {

namespace {

std::string_view encoder_name(weights::Part part) {
  switch (part) {
    case weights::Part::clip_g:
      return "clip_g";
    case weights::Part::t5:
      return "t5xxl";
    case weights::Part::qwen3:
      return "qwen3_4b";
    default:
      return "clip_l";
  }
}

}  // namespace

void add_comfy_aliases(const ModuleNames& module, const Aliases& aliases) {
  if (module.is_text_encoder()) {
    if (module.canonical.empty()) return;
    const std::string name(encoder_name(module.part));
    aliases.add("text_encoders." + name + ".transformer." + module.canonical);
    aliases.add(name + "." + module.canonical);
    return;
  }
  for (const std::string& path : module.both()) aliases.add("diffusion_model." + path);
  if (!module.native.empty()) aliases.add("model.diffusion_model." + module.native);
}

}  // namespace velatura::lora
