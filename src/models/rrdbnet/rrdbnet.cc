#include "models/rrdbnet/rrdbnet.h"

#include <string>

#include "base/error.h"
#include "base/stop_token.h"
#include "ops/elementwise.h"

namespace velatura::models::rrdbnet {

namespace {

constexpr int kDenseConvs = 5;
/// The residual scaling of the paper, fixed in its implementation.
constexpr float kResidualScale = 0.2f;
constexpr auto kLeaky = ops::Activation::leaky_relu;

}  // namespace

DenseBlock::DenseBlock(const nn::Scope& scope, const RrdbNetConfig& config) {
  for (int conv = 0; conv < kDenseConvs; ++conv) {
    const bool last = conv + 1 == kDenseConvs;
    convs_.emplace_back(scope, "conv" + std::to_string(conv + 1),
                        nn::Conv2dShape::same(config.features + conv * config.growth,
                                              last ? config.features : config.growth));
  }
}

Tensor DenseBlock::forward(nn::Run& run, const Tensor& x) const {
  Tensor seen = x;
  for (std::size_t conv = 0; conv + 1 < convs_.size(); ++conv) {
    const Tensor added = convs_[conv].forward(run, seen, {.activation = kLeaky});
    seen = ops::concat_channels(run.ops, seen, added);
  }
  return ops::scaled_add(run.ops, x, convs_.back().forward(run, seen), kResidualScale);
}

ResidualDenseBlock::ResidualDenseBlock(const nn::Scope& scope, const RrdbNetConfig& config)
    : rdb1_(scope.child("rdb1"), config),
      rdb2_(scope.child("rdb2"), config),
      rdb3_(scope.child("rdb3"), config) {}

Tensor ResidualDenseBlock::forward(nn::Run& run, const Tensor& x) const {
  Tensor h = rdb1_.forward(run, x);
  h = rdb2_.forward(run, h);
  h = rdb3_.forward(run, h);
  return ops::scaled_add(run.ops, x, h, kResidualScale);
}

RrdbNet::RrdbNet(const RrdbNetConfig& config, const nn::Scope& scope)
    : config_(config),
      conv_first_(scope, "conv_first",
                  nn::Conv2dShape::same(config.picture_channels, config.features)),
      conv_body_(scope, "conv_body", nn::Conv2dShape::same(config.features, config.features)),
      conv_hr_(scope, "conv_hr", nn::Conv2dShape::same(config.features, config.features)),
      conv_last_(scope, "conv_last",
                 nn::Conv2dShape::same(config.features, config.picture_channels)) {
  for (int block = 0; block < config.blocks; ++block)
    body_.emplace_back(scope.child("body").child(block), config);
  for (int step = 1; step <= config.doublings; ++step) {
    conv_up_.emplace_back(scope, "conv_up" + std::to_string(step),
                          nn::Conv2dShape::same(config.features, config.features));
  }
}

Tensor RrdbNet::forward(nn::Run& run, const Tensor& pictures) const {
  if (pictures.rank() != 4 || pictures.size(1) != config_.picture_channels) {
    fail(ErrorKind::invalid_argument, "upscaler: pictures are [N, {}, H, W], found {}",
         config_.picture_channels, pictures.shape().to_string());
  }
  const Tensor first = conv_first_.forward(run, ops::nchw_to_nhwc(run.ops, pictures));
  Tensor x = first;
  for (const ResidualDenseBlock& block : body_) {
    throw_if_stopped(run.stop);
    x = block.forward(run, x);
  }
  x = conv_body_.forward(run, x, {.residual = &first});
  for (const nn::Conv2d& conv : conv_up_) {
    throw_if_stopped(run.stop);
    x = ops::upsample_nearest_2x(run.ops, x);
    x = conv.forward(run, x, {.activation = kLeaky});
  }
  x = conv_hr_.forward(run, x, {.activation = kLeaky});
  return ops::nhwc_to_nchw(run.ops, conv_last_.forward(run, x));
}

}  // namespace velatura::models::rrdbnet
