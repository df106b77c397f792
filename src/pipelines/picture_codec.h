// Between pictures and the denoiser's latents, whichever codec a model has. Not here: the codecs
// (models/).
#pragma once

#include <memory>

#include "models/autoencoder_kl/autoencoder_kl.h"
#include "models/autoencoder_tiny/autoencoder_tiny.h"
#include "nn/model.h"

namespace velatura::pipelines {

/// Pictures are f32 [N, 3, H, W] in [−1, 1]; latents f32 [N, C, h, w] as the denoiser takes them
/// (scaled). Const, shared.
class PictureCodec {
 public:
  virtual ~PictureCodec() = default;
  virtual int factor() const = 0;  ///< pixels for one latent cell in each direction
  virtual int latent_channels() const = 0;
  virtual Tensor decode(nn::Run& run, const Tensor& latents) const = 0;
  /// Throws unsupported where the file has no encoder.
  struct Encoded {
    Tensor mean;
    Tensor deviation;  ///< of the posterior to sample from; absent where the codec has none
  };
  virtual Encoded encode(nn::Run& run, const Tensor& pictures) const = 0;
};

std::shared_ptr<const PictureCodec> make_codec(
    std::shared_ptr<const nn::Model<models::autoencoder_kl::AutoencoderKl>> model);
std::shared_ptr<const PictureCodec> make_codec(
    std::shared_ptr<const nn::Model<models::autoencoder_tiny::AutoencoderTiny>> model);

}  // namespace velatura::pipelines
