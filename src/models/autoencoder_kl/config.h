// The shape of the KL picture codec of latent diffusion models. Not here: names of tensors in files
// (names.h).
#pragma once

#include <string_view>
#include <vector>

namespace velatura::models::autoencoder_kl {

/// The defaults are SD 1.5's.
struct AutoencoderKlConfig {
  int picture_channels = 3;
  int latent_channels = 4;
  std::vector<int> block_channels = {128, 256, 512, 512};  ///< outermost (full resolution) first
  int layers = 2;  ///< residual blocks of an encoder block; a decoder block has one more
  int norm_groups = 32;
  bool mid_attention = true;
  bool quant_conv = true;       ///< a 1×1 convolution after the encoder
  bool post_quant_conv = true;  ///< and one before the decoder
  /// The denoiser's latents are (latent − shift) · scaling. Data for pipelines; the codec itself
  /// does not apply it.
  float scaling_factor = 0.18215f;
  float shift_factor = 0;

  /// Reads diffusers' config.json of an AutoencoderKL. Throws bad_file and unsupported.
  static AutoencoderKlConfig from_json(std::string_view text);

  /// Pixels for one latent cell in each direction.
  int factor() const { return 1 << (block_channels.size() - 1); }
  bool operator==(const AutoencoderKlConfig&) const = default;
};

}  // namespace velatura::models::autoencoder_kl
