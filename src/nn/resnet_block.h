// The residual block of latent diffusion's UNet and picture codec (diffusers' ResnetBlock2D with
// its default options).
#pragma once

#include <optional>

#include "nn/conv2d.h"
#include "nn/norm.h"

namespace velatura::nn {

struct ResnetBlockShape {
  std::int64_t in_channels = 0;
  std::int64_t out_channels = 0;
  int norm_groups = 32;
  float norm_epsilon = 1e-5f;
  std::int64_t time_width = 0;  ///< 0: no timestep (codecs)
};

/// y = conv2(silu(norm2(conv1(silu(norm1(x))) + time))) + shortcut(x); the shortcut is a 1×1
/// convolution where the widths differ.
class ResnetBlock {
 public:
  ResnetBlock(const Scope& scope, const ResnetBlockShape& shape);

  /// x [N, H, W, in] → [N, H, W, out]. `time` [N, time_width] is silu(embedding of the timestep);
  /// null for codecs.
  Tensor forward(Run& run, const Tensor& x, const Tensor* time = nullptr) const;

 private:
  GroupNorm norm1_;
  Conv2d conv1_;
  std::optional<Linear> time_projection_;
  GroupNorm norm2_;
  Conv2d conv2_;
  std::optional<Conv2d> shortcut_;
};

}  // namespace velatura::nn
