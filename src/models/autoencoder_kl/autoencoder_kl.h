// The KL picture codec of latent diffusion (Rombach et al. 2022), as diffusers' AutoencoderKL
// computes it, untiled. Not here: the scaling between its latents and the denoiser's
// (AutoencoderKlConfig says it, pipelines apply it).
#pragma once

#include <optional>
#include <vector>

#include "models/autoencoder_kl/config.h"
#include "nn/conv2d.h"
#include "nn/norm.h"
#include "nn/resnet_block.h"

namespace velatura::models::autoencoder_kl {

/// Self-attention over the cells of a picture, one head as wide as the channels, with a residual.
class CellAttention {
 public:
  CellAttention(const nn::Scope& scope, std::int64_t channels, const AutoencoderKlConfig& config);
  Tensor forward(nn::Run& run, const Tensor& x) const;

 private:
  nn::GroupNorm group_norm_;
  nn::Linear to_q_, to_k_, to_v_, to_out_;
};

/// The innermost block of both halves.
class MidBlock {
 public:
  MidBlock(const nn::Scope& scope, const AutoencoderKlConfig& config);
  Tensor forward(nn::Run& run, const Tensor& x) const;

 private:
  nn::ResnetBlock first_;
  std::optional<CellAttention> attention_;
  nn::ResnetBlock second_;
};

/// Residual blocks, then a convolution that halves or (behind a nearest upsampling) doubles the
/// picture, but for a half's last block.
struct CodecBlock {
  std::vector<nn::ResnetBlock> resnets;
  std::optional<nn::Conv2d> resample;
};

class Encoder {
 public:
  Encoder(const nn::Scope& scope, const AutoencoderKlConfig& config);
  /// Channels-last picture → [N, h, w, 2 · latent channels].
  Tensor forward(nn::Run& run, const Tensor& picture) const;

 private:
  nn::Conv2d conv_in_;
  std::vector<CodecBlock> down_blocks_;
  MidBlock mid_block_;
  nn::GroupNorm conv_norm_out_;
  nn::Conv2d conv_out_;
};

class Decoder {
 public:
  Decoder(const nn::Scope& scope, const AutoencoderKlConfig& config);
  /// Channels-last latent → channels-last picture.
  Tensor forward(nn::Run& run, const Tensor& latent) const;

 private:
  nn::Conv2d conv_in_;
  MidBlock mid_block_;
  std::vector<CodecBlock> up_blocks_;
  nn::GroupNorm conv_norm_out_;
  nn::Conv2d conv_out_;
};

/// The normal distribution over latents that a picture is encoded to; the sample is mean +
/// exp(logvar / 2) · noise.
struct Posterior {
  Tensor mean;    ///< f32 [N, latent channels, h, w]
  Tensor logvar;  ///< the same shape, clamped to [−30, 20] as in diffusers
};

/// Const: jobs share it. A source without an encoder gives a codec that only decodes.
class AutoencoderKl {
 public:
  AutoencoderKl(const AutoencoderKlConfig& config, const nn::Scope& scope);
  const AutoencoderKlConfig& config() const { return config_; }
  bool can_encode() const { return encoder_.has_value(); }

  /// Pictures f32 [N, 3, H, W] in [−1, 1], extents multiples of the codec's factor. Throws
  /// invalid_argument on others, unsupported without an encoder.
  Posterior encode(nn::Run& run, const Tensor& pictures) const;
  /// Unscaled latents f32 [N, latent channels, h, w] → pictures f32 [N, 3, h · factor, w · factor],
  /// about [−1, 1].
  Tensor decode(nn::Run& run, const Tensor& latents) const;

 private:
  AutoencoderKlConfig config_;
  std::optional<Encoder> encoder_;
  std::optional<nn::Conv2d> quant_conv_;
  std::optional<nn::Conv2d> post_quant_conv_;
  Decoder decoder_;
};

}  // namespace velatura::models::autoencoder_kl
