// The shape of the tiny picture codec TAESD (github.com/madebyollin/taesd). Not here: names of
// tensors in files.
#pragma once

#include <string_view>
#include <vector>

#include "weights/source.h"

namespace velatura::models::autoencoder_tiny {

/// The defaults are TAESD's. It takes and gives the denoiser's latents as they are: no scaling
/// factor.
struct AutoencoderTinyConfig {
  int picture_channels = 3;
  int latent_channels = 4;
  int width = 64;  ///< channels of every inner layer
  std::vector<int> encoder_blocks = {
      1, 3, 3, 3};  ///< residual blocks of each stage in order; empty: no encoder
  std::vector<int> decoder_blocks = {3, 3, 3, 1};  ///< the same of the decoder

  /// Reads diffusers' config.json of an AutoencoderTiny. Throws bad_file and unsupported.
  static AutoencoderTinyConfig from_json(std::string_view text);
  /// From names and shapes alone, canonical ("decoder.layers.0.weight"): nothing about this codec
  /// is hidden from them. A half that the source lacks has no blocks. Throws bad_file when neither
  /// is there.
  static AutoencoderTinyConfig detect(const weights::Source& source);

  /// Pixels for one latent cell in each direction.
  int factor() const;
  bool operator==(const AutoencoderTinyConfig&) const = default;
};

}  // namespace velatura::models::autoencoder_tiny
