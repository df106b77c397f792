// The tiny picture codec TAESD, as diffusers' AutoencoderTiny computes it: a fast stand-in for the
// KL codec that takes and gives the denoiser's latents as they are.
#pragma once

#include <optional>
#include <vector>

#include "models/autoencoder_tiny/config.h"
#include "nn/conv2d.h"

namespace velatura::models::autoencoder_tiny {

/// y = relu(conv(relu(conv(relu(conv(x))))) + x)
class TinyBlock {
 public:
  TinyBlock(const nn::Scope& scope, std::int64_t width);
  Tensor forward(nn::Run& run, const Tensor& x) const;

 private:
  nn::Conv2d conv0_, conv2_, conv4_;
};

/// The convolution that begins a stage, and the stage's blocks.
struct TinyStage {
  nn::Conv2d conv;
  std::vector<TinyBlock> blocks;
};

class TinyEncoder {
 public:
  TinyEncoder(const nn::Scope& scope, const AutoencoderTinyConfig& config);
  Tensor forward(nn::Run& run, const Tensor& picture) const;

 private:
  std::vector<TinyStage> stages_;  ///< each but the first halves the picture
  std::optional<nn::Conv2d> conv_out_;
};

class TinyDecoder {
 public:
  TinyDecoder(const nn::Scope& scope, const AutoencoderTinyConfig& config);
  Tensor forward(nn::Run& run, const Tensor& latent) const;

 private:
  std::vector<TinyStage> stages_;  ///< each but the first works on a doubled picture
  std::optional<nn::Conv2d> conv_out_;
};

/// Const: jobs share it. What the configuration has no blocks for is absent.
class AutoencoderTiny {
 public:
  AutoencoderTiny(const AutoencoderTinyConfig& config, const nn::Scope& scope);
  const AutoencoderTinyConfig& config() const { return config_; }
  bool can_encode() const { return encoder_.has_value(); }
  bool can_decode() const { return decoder_.has_value(); }

  /// Pictures f32 [N, 3, H, W] in [−1, 1], extents multiples of the factor → the denoiser's latents
  /// f32 [N, C, h, w].
  Tensor encode(nn::Run& run, const Tensor& pictures) const;
  /// The denoiser's latents f32 [N, C, h, w] → pictures f32 [N, 3, H, W], about [−1, 1].
  Tensor decode(nn::Run& run, const Tensor& latents) const;

 private:
  AutoencoderTinyConfig config_;
  std::optional<TinyEncoder> encoder_;
  std::optional<TinyDecoder> decoder_;
};

}  // namespace velatura::models::autoencoder_tiny
