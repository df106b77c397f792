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
      {"native", add_native_aliases},
      {"lycoris", add_lycoris_aliases},
      {"onetrainer", add_onetrainer_aliases},
      {"xlabs", add_xlabs_aliases},
      {"openclip", add_openclip_aliases},
      {"wrapped", add_wrapped_aliases},
      {"anime-z", add_anime_z_aliases},
      {"z-image", add_z_image_aliases},
      {"twinflow", add_twinflow_aliases},
      {"mlx", add_mlx_aliases},
      {"diffsynth", add_diffsynth_aliases},
      {"cloneofsimo", add_cloneofsimo_aliases, add_cloneofsimo_places},
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

std::string_view text_encoder_folder(weights::Part part) {
  const bool second = part == weights::Part::clip_g || part == weights::Part::t5;
  return second ? "text_encoder_2" : "text_encoder";
}

}  // namespace velatura::lora
