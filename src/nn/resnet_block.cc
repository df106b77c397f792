#include "nn/resnet_block.h"

#include "base/error.h"

namespace velatura::nn {

ResnetBlock::ResnetBlock(const Scope& scope, const ResnetBlockShape& shape)
    : norm1_(scope, "norm1", shape.in_channels, shape.norm_groups, shape.norm_epsilon),
      conv1_(scope, "conv1", Conv2dShape::same(shape.in_channels, shape.out_channels)),
      norm2_(scope, "norm2", shape.out_channels, shape.norm_groups, shape.norm_epsilon),
      conv2_(scope, "conv2", Conv2dShape::same(shape.out_channels, shape.out_channels)) {
  if (shape.time_width > 0)
    time_projection_.emplace(scope, "time_emb_proj", shape.time_width, shape.out_channels);
  if (shape.in_channels != shape.out_channels) {
    shortcut_.emplace(scope, "conv_shortcut",
                      Conv2dShape::same(shape.in_channels, shape.out_channels, 1));
  }
}

Tensor ResnetBlock::forward(Run& run, const Tensor& x, const Tensor* time) const {
  VELATURA_CHECK((time != nullptr) == time_projection_.has_value());
  constexpr auto kSilu = ops::Activation::silu;
  Tensor h = conv1_.forward(run, norm1_.forward(run, x, {.activation = kSilu}));
  Tensor shift;
  if (time != nullptr) shift = time_projection_->forward(run, *time);
  h = norm2_.forward(run, h,
                     {.activation = kSilu, .channel_add = time != nullptr ? &shift : nullptr});
  const Tensor straight = shortcut_ ? shortcut_->forward(run, x) : x;
  return conv2_.forward(run, h, {.residual = &straight});
}

}  // namespace velatura::nn
