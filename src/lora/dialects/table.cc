#include <algorithm>
#include <array>

#include "lora/dialects/dialect.h"

namespace velatura::lora {

std::span<const Dialect> dialects() {
  static constexpr auto kDialects = std::to_array<Dialect>({
      {"kohya", add_kohya_aliases},
      {"diffusers", add_diffusers_aliases},
      {"processor", add_processor_aliases},
      {"peft", add_peft_aliases},
      {"comfy", add_comfy_aliases},
      {"lycoris", add_lycoris_aliases},
  });
  return kDialects;
}

std::vector<std::string> ModuleNames::both() const {
  std::vector<std::string> names;
  if (!canonical.empty()) names.push_back(canonical);
  if (!native.empty() && native != canonical) names.push_back(native);
  return names;
}

std::string flatten(std::string_view path) {
  std::string flat(path);
  std::ranges::replace(flat, '.', '_');
  return flat;
}

}  // namespace velatura::lora
