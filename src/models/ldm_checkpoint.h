// A whole SD1 model in one file, as CompVis' latent-diffusion code named it: denoiser, codec and
// text encoder under their prefixes. Not here: the names inside each part (its names.h), what other
// files are (registry.h).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/autoencoder_kl/config.h"
#include "models/clip/config.h"
#include "models/unet/config.h"
#include "weights/source.h"

namespace velatura::models {

struct LdmConfigs {
  unet::UNetConfig unet;
  autoencoder_kl::AutoencoderKlConfig vae;
  clip::ClipTextConfig text_encoder;
};

/// The parts under canonical names. A part the file lacks is null: a file may hold one part only,
/// with its prefix or without.
struct LdmCheckpoint {
  std::shared_ptr<const weights::Source> unet;
  std::shared_ptr<const weights::Source> vae;
  std::shared_ptr<const weights::Source> text_encoder;
  /// Tensors of the file that no part uses, for reports. Known ones are harmless by nature: the
  /// noise schedule's buffers, position_ids, averaged copies (model_ema) beside the weights,
  /// training losses.
  std::vector<std::string> known_unused;
  std::vector<std::string> unknown;
};

/// Reads the shapes of the parts that `file` has. What shapes do not tell is taken from SD 1.5: 8
/// attention heads, 32 groups in norms, heads of width 64 in the text encoder, the codec's scaling
/// factor. Absent parts keep their defaults. Throws bad_file where the names of a part contradict
/// each other.
LdmConfigs detect_ldm(const weights::Source& file);

/// Whether a leftover tensor of a checkpoint is one that nobody misses.
bool is_known_unused(std::string_view name);

LdmCheckpoint open_ldm(const std::shared_ptr<const weights::Source>& file,
                       const LdmConfigs& configs);

}  // namespace velatura::models
