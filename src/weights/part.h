// Which part of which kind of model a list of parameters belongs to. Spellings of adapter names
// hang on it (lora-formats §2.7). Not here: the families themselves (models/families.h).
#pragma once

namespace velatura::weights {

enum class Part {
  unet,     ///< SD1.5, SDXL
  flux,     ///< FLUX.1's transformer
  z_image,  ///< Z-Image's transformer
  clip_l,   ///< first text encoder of SD1.5, SDXL, FLUX.1
  clip_g,   ///< OpenCLIP bigG, SDXL's second
  t5,       ///< T5-XXL, FLUX.1's second
  qwen3,    ///< Z-Image's
};

constexpr bool is_text_encoder(Part part) {
  return part == Part::clip_l || part == Part::clip_g || part == Part::t5 || part == Part::qwen3;
}

}  // namespace velatura::weights
