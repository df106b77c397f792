#include "models/autoencoder_tiny/autoencoder_tiny.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/error.h"
#include "base/stop_token.h"
#include "ops/elementwise.h"

namespace velatura::models::autoencoder_tiny {

namespace {

constexpr auto kRelu = ops::Activation::relu;

nn::Conv2dShape without_bias(nn::Conv2dShape shape) {
  shape.bias = nn::Bias::without;
  return shape;
}

nn::Conv2dShape halving(std::int64_t width) {
  nn::Conv2dShape shape = without_bias(nn::Conv2dShape::same(width, width));
  shape.geometry.stride = 2;
  return shape;
}

/// A copy with `f` applied to each value: the few pointwise maps at the codec's edge, on tensors of
/// a picture's size.
template <typename Function>
Tensor mapped(const Tensor& x, Function f) {
  Tensor y = Tensor::allocate(x.shape(), DType::f32);
  std::transform(x.floats().begin(), x.floats().end(), y.mutable_floats().begin(), f);
  return y;
}

Tensor through(nn::Run& run, const std::vector<TinyBlock>& blocks, Tensor x) {
  for (const TinyBlock& block : blocks) {
    throw_if_stopped(run.stop);
    x = block.forward(run, x);
  }
  return x;
}

}  // namespace

TinyBlock::TinyBlock(const nn::Scope& scope, std::int64_t width)
    : conv0_(scope.child("conv"), "0", nn::Conv2dShape::same(width, width)),
      conv2_(scope.child("conv"), "2", nn::Conv2dShape::same(width, width)),
      conv4_(scope.child("conv"), "4", nn::Conv2dShape::same(width, width)) {}

Tensor TinyBlock::forward(nn::Run& run, const Tensor& x) const {
  Tensor h = conv0_.forward(run, x, {.activation = kRelu});
  h = conv2_.forward(run, h, {.activation = kRelu});
  h = conv4_.forward(run, h, {.residual = &x});
  return ops::activation(run.ops, h, kRelu);
}

TinyEncoder::TinyEncoder(const nn::Scope& scope, const AutoencoderTinyConfig& config) {
  const nn::Scope layers = scope.child("layers");
  int layer = 0;
  for (const int blocks : config.encoder_blocks) {
    const nn::Conv2dShape shape = stages_.empty()
                                      ? nn::Conv2dShape::same(config.picture_channels, config.width)
                                      : halving(config.width);
    TinyStage& stage =
        stages_.emplace_back(TinyStage{nn::Conv2d(layers, std::to_string(layer++), shape), {}});
    for (int block = 0; block < blocks; ++block)
      stage.blocks.emplace_back(layers.child(layer++), config.width);
  }
  conv_out_.emplace(layers, std::to_string(layer),
                    nn::Conv2dShape::same(config.width, config.latent_channels));
}

Tensor TinyEncoder::forward(nn::Run& run, const Tensor& picture) const {
  Tensor x = picture;
  for (const TinyStage& stage : stages_) x = through(run, stage.blocks, stage.conv.forward(run, x));
  return conv_out_->forward(run, x);
}

TinyDecoder::TinyDecoder(const nn::Scope& scope, const AutoencoderTinyConfig& config) {
  const nn::Scope layers = scope.child("layers");
  int layer = 0;
  for (const int blocks : config.decoder_blocks) {
    const bool first = stages_.empty();
    const nn::Conv2dShape shape =
        first ? nn::Conv2dShape::same(config.latent_channels, config.width)
              : without_bias(nn::Conv2dShape::same(config.width, config.width));
    // Layers without parameters are counted too: a relu behind the first convolution, an upsampling
    // before the others.
    if (!first) ++layer;
    TinyStage& stage =
        stages_.emplace_back(TinyStage{nn::Conv2d(layers, std::to_string(layer++), shape), {}});
    if (first) ++layer;
    for (int block = 0; block < blocks; ++block)
      stage.blocks.emplace_back(layers.child(layer++), config.width);
  }
  conv_out_.emplace(layers, std::to_string(layer),
                    nn::Conv2dShape::same(config.width, config.picture_channels));
}

Tensor TinyDecoder::forward(nn::Run& run, const Tensor& latent) const {
  Tensor x = latent;
  for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
    if (stage == 0) {
      x = stages_[stage].conv.forward(run, x, {.activation = kRelu});
    } else {
      x = stages_[stage].conv.forward(run, ops::upsample_nearest_2x(run.ops, x));
    }
    x = through(run, stages_[stage].blocks, std::move(x));
  }
  return conv_out_->forward(run, x);
}

AutoencoderTiny::AutoencoderTiny(const AutoencoderTinyConfig& config, const nn::Scope& scope)
    : config_(config) {
  if (!config.encoder_blocks.empty() && scope.weights.has("encoder.layers.0.weight")) {
    encoder_.emplace(scope.child("encoder"), config);
  }
  if (!config.decoder_blocks.empty() && scope.weights.has("decoder.layers.0.weight")) {
    decoder_.emplace(scope.child("decoder"), config);
  }
}

Tensor AutoencoderTiny::encode(nn::Run& run, const Tensor& pictures) const {
  if (!encoder_)
    fail(ErrorKind::unsupported, "this tiny codec has no encoder: its file holds a decoder alone");
  const int factor = config_.factor();
  if (pictures.rank() != 4 || pictures.size(1) != config_.picture_channels ||
      pictures.size(2) % factor != 0 || pictures.size(3) % factor != 0) {
    fail(ErrorKind::invalid_argument,
         "tiny codec: pictures are [N, {}, H, W] with H and W multiples of {}, found {}",
         config_.picture_channels, factor, pictures.shape().to_string());
  }
  const Tensor unit = mapped(pictures, [](float value) { return (value + 1) / 2; });
  return ops::nhwc_to_nchw(run.ops, encoder_->forward(run, ops::nchw_to_nhwc(run.ops, unit)));
}

Tensor AutoencoderTiny::decode(nn::Run& run, const Tensor& latents) const {
  if (!decoder_)
    fail(ErrorKind::unsupported, "this tiny codec has no decoder: its file holds an encoder alone");
  if (latents.rank() != 4 || latents.size(1) != config_.latent_channels) {
    fail(ErrorKind::invalid_argument, "tiny codec: latents are [N, {}, h, w], found {}",
         config_.latent_channels, latents.shape().to_string());
  }
  const Tensor clamped = mapped(latents, [](float value) { return std::tanh(value / 3) * 3; });
  const Tensor unit =
      ops::nhwc_to_nchw(run.ops, decoder_->forward(run, ops::nchw_to_nhwc(run.ops, clamped)));
  return mapped(unit, [](float value) { return value * 2 - 1; });
}

}  // namespace velatura::models::autoencoder_tiny
