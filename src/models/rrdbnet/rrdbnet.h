// The upscaler RRDBNet of ESRGAN (Wang et al. 2018) and Real-ESRGAN, untiled, under Real-ESRGAN's
// names.
#pragma once

#include <vector>

#include "models/rrdbnet/config.h"
#include "nn/conv2d.h"

namespace velatura::models::rrdbnet {

/// Five convolutions, each seeing the outputs of all before it; the last one's, times 0.2, is added
/// to the input.
class DenseBlock {
 public:
  DenseBlock(const nn::Scope& scope, const RrdbNetConfig& config);
  Tensor forward(nn::Run& run, const Tensor& x) const;

 private:
  std::vector<nn::Conv2d> convs_;
};

/// Three dense blocks with another residual around them.
class ResidualDenseBlock {
 public:
  ResidualDenseBlock(const nn::Scope& scope, const RrdbNetConfig& config);
  Tensor forward(nn::Run& run, const Tensor& x) const;

 private:
  DenseBlock rdb1_, rdb2_, rdb3_;
};

/// Const: jobs share it.
class RrdbNet {
 public:
  RrdbNet(const RrdbNetConfig& config, const nn::Scope& scope);
  const RrdbNetConfig& config() const { return config_; }

  /// Pictures f32 [N, 3, H, W] in [0, 1] → [N, 3, scale · H, scale · W], about [0, 1].
  Tensor forward(nn::Run& run, const Tensor& pictures) const;

 private:
  RrdbNetConfig config_;
  nn::Conv2d conv_first_;
  std::vector<ResidualDenseBlock> body_;
  nn::Conv2d conv_body_;
  std::vector<nn::Conv2d> conv_up_;
  nn::Conv2d conv_hr_, conv_last_;
};

}  // namespace velatura::models::rrdbnet
