// The attention blocks of UNet2DConditionModel: tokens of a picture look at each other and at the
// text.
#pragma once

#include <variant>
#include <vector>

#include "nn/conv2d.h"
#include "nn/linear.h"
#include "nn/norm.h"

namespace velatura::models::unet {

struct TransformerShape {
  std::int64_t channels = 0;
  int heads = 8;
  int layers = 1;
  std::int64_t text_width = 768;
  int norm_groups = 32;
  bool linear_projection = false;
};

/// Multi-head attention; `context_width` is the width of what is looked at.
class Attention {
 public:
  Attention(const nn::Scope& scope, std::int64_t width, std::int64_t context_width, int heads);
  /// x [N, L, width] looks at context [N, M, context_width]; `residual` is added to the result.
  Tensor forward(nn::Run& run, const Tensor& x, const Tensor& context,
                 const Tensor& residual) const;

 private:
  int heads_;
  nn::Linear to_q_, to_k_, to_v_, to_out_;
};

/// Self-attention, attention to the text, gated feed-forward, each behind a norm and with a
/// residual (diffusers' BasicTransformerBlock with its default options).
class TransformerBlock {
 public:
  TransformerBlock(const nn::Scope& scope, const TransformerShape& shape);
  Tensor forward(nn::Run& run, const Tensor& x, const Tensor& text) const;

 private:
  nn::LayerNorm norm1_;
  Attention attn1_;
  nn::LayerNorm norm2_;
  Attention attn2_;
  nn::LayerNorm norm3_;
  nn::Linear ff_in_, ff_out_;
};

/// A picture through transformer blocks and back, with a residual (diffusers' Transformer2DModel).
class PictureTransformer {
 public:
  PictureTransformer(const nn::Scope& scope, const TransformerShape& shape);
  /// x [N, H, W, channels], text [N, L, text_width] → the shape of x.
  Tensor forward(nn::Run& run, const Tensor& x, const Tensor& text) const;

 private:
  nn::GroupNorm norm_;
  // A 1×1 convolution and a linear layer compute the same on channels-last pictures; which one it
  // is decides the shape that adapters find in the tree.
  std::variant<nn::Conv2d, nn::Linear> proj_in_;
  std::vector<TransformerBlock> blocks_;
  std::variant<nn::Conv2d, nn::Linear> proj_out_;
};

}  // namespace velatura::models::unet
