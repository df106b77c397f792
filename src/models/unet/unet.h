// The denoiser of Stable Diffusion (Rombach et al. 2022), as diffusers' UNet2DConditionModel
// computes it. Not here: schedules, guidance, what its output predicts (diffusion/).
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "models/unet/config.h"
#include "models/unet/transformer.h"
#include "nn/resnet_block.h"

namespace velatura::models::unet {

/// What every block of one step sees: silu(embedding of the timestep) [N, time width] and the text
/// [N, L, text width].
struct Condition {
  const Tensor& time;
  const Tensor& text;
};

/// One level of the down or up path: residual blocks, each followed by a transformer where the
/// level has attention, and a convolution to the next level's resolution (none at a path's end).
struct Level {
  std::vector<nn::ResnetBlock> resnets;
  std::vector<PictureTransformer> attentions;  ///< empty or as many as resnets
  std::optional<nn::Conv2d> resample;
};

/// Const: jobs share it.
class UNet {
 public:
  UNet(const UNetConfig& config, const nn::Scope& scope);
  const UNetConfig& config() const { return config_; }

  /// sample f32 [N, in channels, h, w] of any extents ≥ 1, timesteps (one for all or N; fractions
  /// are legal), text [N, L, text width] f32 or in the compute type → the prediction f32 [N, out
  /// channels, h, w]. Throws invalid_argument on other shapes, cancelled when the run is stopped.
  Tensor forward(nn::Run& run, const Tensor& sample, std::span<const float> timesteps,
                 const Tensor& text) const;

 private:
  Tensor embed_time(nn::Run& run, std::int64_t batch, std::span<const float> timesteps) const;
  Tensor down(nn::Run& run, Tensor x, const Condition& condition, std::vector<Tensor>& skips) const;
  Tensor middle(nn::Run& run, const Tensor& x, const Condition& condition) const;
  Tensor up(nn::Run& run, Tensor x, const Condition& condition, std::vector<Tensor>& skips) const;

  UNetConfig config_;
  nn::Linear time_linear_1_, time_linear_2_;
  nn::Conv2d conv_in_;
  std::vector<Level> down_blocks_;
  Level mid_block_;
  std::vector<Level> up_blocks_;
  nn::GroupNorm conv_norm_out_;
  nn::Conv2d conv_out_;
};

}  // namespace velatura::models::unet
