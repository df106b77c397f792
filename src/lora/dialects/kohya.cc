// kohya's sd-scripts, LyCORIS inside it and musubi-tuner: prefix and the flattened path, in
// diffusers' or in single-file naming (lora-formats §2.2 K-D, K-L, X; §2.3, §2.5, §2.6). Converters
// in the wild doubled the prefix or its last underscore. Which text encoder is the second depends
// on the family and the program: T5 is te3 with kohya, te2 with OneTrainer. ai-toolkit keeps the
// dots behind these prefixes where it writes PEFT's suffixes (toolkit/lora_special.py).
#include <array>

#include "lora/dialects/dialect.h"

namespace velatura::lora {

namespace {

std::span<const std::string_view> text_prefixes(weights::Part part) {
  static constexpr auto kFirst = std::to_array<std::string_view>({"lora_te_", "lora_te1_"});
  static constexpr auto kSecond = std::to_array<std::string_view>({"lora_te2_"});
  static constexpr auto kT5 = std::to_array<std::string_view>({"lora_te3_", "lora_te2_"});
  switch (part) {
    case weights::Part::clip_g:
      return kSecond;
    case weights::Part::t5:
      return kT5;
    default:
      return kFirst;
  }
}

}  // namespace

void add_kohya_aliases(const ModuleNames& module, const Aliases& aliases) {
  if (!module.is_text_encoder()) {
    for (const std::string& path : module.both()) {
      const std::string flat = flatten(path);
      aliases.add("lora_unet_" + flat);
      aliases.add("oft_unet_" + flat);
      aliases.add((module.is_transformer() ? "lora_unet__" : "lora_unet_unet_") + flat);
    }
    return;
  }
  if (module.canonical.empty()) return;
  for (const std::string_view prefix : text_prefixes(module.part)) {
    aliases.add(std::string(prefix) + flatten(module.canonical));
    aliases.add(std::string(prefix.substr(0, prefix.size() - 1)) + "." + module.canonical);
    // Encoders of Llama's kind are spelled without their outermost part.
    constexpr std::string_view kModel = "model.";
    if (module.part == weights::Part::qwen3 && module.canonical.starts_with(kModel))
      aliases.add(std::string(prefix) + flatten(module.canonical.substr(kModel.size())));
  }
}

}  // namespace velatura::lora
