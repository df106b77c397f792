#include "models/autoencoder_kl/autoencoder_kl.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/stop_token.h"
#include "ops/attention.h"
#include "ops/elementwise.h"

namespace velatura::models::autoencoder_kl {

namespace {

/// The constant that diffusers writes into its encoder, decoder and mid block.
constexpr float kNormEpsilon = 1e-6f;

nn::ResnetBlock resnet(const nn::Scope& scope, std::int64_t in, std::int64_t out,
                       const AutoencoderKlConfig& config) {
  return nn::ResnetBlock(scope, {.in_channels = in,
                                 .out_channels = out,
                                 .norm_groups = config.norm_groups,
                                 .norm_epsilon = kNormEpsilon});
}

/// Stride 2 with zeros below and to the right only: latent diffusion pads (0, 1, 0, 1) by hand.
nn::Conv2dShape halving(std::int64_t channels) {
  return {.in_channels = channels,
          .out_channels = channels,
          .kernel = 3,
          .geometry = {.stride = 2, .pad_bottom = 1, .pad_right = 1}};
}

Tensor through(nn::Run& run, const std::vector<nn::ResnetBlock>& resnets, Tensor x) {
  for (const nn::ResnetBlock& resnet : resnets) {
    throw_if_stopped(run.stop);
    x = resnet.forward(run, x);
  }
  return x;
}

void tap(const nn::Run& run, std::string_view half, std::string_view blocks, std::size_t block,
         const Tensor& x) {
  if (run.tap)
    run.tap(std::string(half) + "." + std::string(blocks) + "." + std::to_string(block), x);
}

}  // namespace

CellAttention::CellAttention(const nn::Scope& scope, std::int64_t channels,
                             const AutoencoderKlConfig& config)
    : group_norm_(scope, "group_norm", channels, config.norm_groups, kNormEpsilon),
      to_q_(scope, "to_q", channels, channels),
      to_k_(scope, "to_k", channels, channels),
      to_v_(scope, "to_v", channels, channels),
      to_out_(scope.child("to_out"), "0", channels, channels) {}

Tensor CellAttention::forward(nn::Run& run, const Tensor& x) const {
  const Shape tokens = {x.size(0), x.size(1) * x.size(2), x.size(3)};
  const Tensor normed = group_norm_.forward(run, x).reshaped(tokens);
  const Tensor q = to_q_.forward(run, normed);
  const Tensor k = to_k_.forward(run, normed);
  const Tensor v = to_v_.forward(run, normed);
  const Tensor straight = x.reshaped(tokens);
  const Tensor mixed = ops::attention(run.ops, q, k, v, {.heads = 1});
  return to_out_.forward(run, mixed, {.residual = &straight}).reshaped(x.shape());
}

MidBlock::MidBlock(const nn::Scope& scope, const AutoencoderKlConfig& config)
    : first_(resnet(scope.child("resnets").child(0), config.block_channels.back(),
                    config.block_channels.back(), config)),
      second_(resnet(scope.child("resnets").child(1), config.block_channels.back(),
                     config.block_channels.back(), config)) {
  if (config.mid_attention) {
    attention_.emplace(scope.child("attentions").child(0), config.block_channels.back(), config);
  }
}

Tensor MidBlock::forward(nn::Run& run, const Tensor& x) const {
  throw_if_stopped(run.stop);
  Tensor h = first_.forward(run, x);
  if (attention_) h = attention_->forward(run, h);
  throw_if_stopped(run.stop);
  return second_.forward(run, h);
}

Encoder::Encoder(const nn::Scope& scope, const AutoencoderKlConfig& config)
    : conv_in_(scope, "conv_in",
               nn::Conv2dShape::same(config.picture_channels, config.block_channels.front())),
      mid_block_(scope.child("mid_block"), config),
      conv_norm_out_(scope, "conv_norm_out", config.block_channels.back(), config.norm_groups,
                     kNormEpsilon),
      conv_out_(scope, "conv_out",
                nn::Conv2dShape::same(config.block_channels.back(), 2 * config.latent_channels)) {
  std::int64_t in = config.block_channels.front();
  for (std::size_t block = 0; block < config.block_channels.size(); ++block) {
    const nn::Scope here = scope.child("down_blocks").child(static_cast<std::int64_t>(block));
    const std::int64_t out = config.block_channels[block];
    CodecBlock& made = down_blocks_.emplace_back();
    for (int layer = 0; layer < config.layers; ++layer) {
      made.resnets.push_back(
          resnet(here.child("resnets").child(layer), layer == 0 ? in : out, out, config));
    }
    const bool last = block + 1 == config.block_channels.size();
    if (!last) made.resample.emplace(here.child("downsamplers").child(0), "conv", halving(out));
    in = out;
  }
}

Tensor Encoder::forward(nn::Run& run, const Tensor& picture) const {
  Tensor x = conv_in_.forward(run, picture);
  for (std::size_t block = 0; block < down_blocks_.size(); ++block) {
    x = through(run, down_blocks_[block].resnets, std::move(x));
    if (down_blocks_[block].resample) x = down_blocks_[block].resample->forward(run, x);
    tap(run, "encoder", "down_blocks", block, x);
  }
  x = mid_block_.forward(run, x);
  if (run.tap) run.tap("encoder.mid_block", x);
  return conv_out_.forward(run,
                           conv_norm_out_.forward(run, x, {.activation = ops::Activation::silu}));
}

Decoder::Decoder(const nn::Scope& scope, const AutoencoderKlConfig& config)
    : conv_in_(scope, "conv_in",
               nn::Conv2dShape::same(config.latent_channels, config.block_channels.back())),
      mid_block_(scope.child("mid_block"), config),
      conv_norm_out_(scope, "conv_norm_out", config.block_channels.front(), config.norm_groups,
                     kNormEpsilon),
      conv_out_(scope, "conv_out",
                nn::Conv2dShape::same(config.block_channels.front(), config.picture_channels)) {
  std::int64_t in = config.block_channels.back();
  for (std::size_t block = 0; block < config.block_channels.size(); ++block) {
    const nn::Scope here = scope.child("up_blocks").child(static_cast<std::int64_t>(block));
    const std::int64_t out = config.block_channels[config.block_channels.size() - 1 - block];
    CodecBlock& made = up_blocks_.emplace_back();
    for (int layer = 0; layer < config.layers + 1; ++layer) {
      made.resnets.push_back(
          resnet(here.child("resnets").child(layer), layer == 0 ? in : out, out, config));
    }
    const bool last = block + 1 == config.block_channels.size();
    if (!last)
      made.resample.emplace(here.child("upsamplers").child(0), "conv",
                            nn::Conv2dShape::same(out, out));
    in = out;
  }
}

Tensor Decoder::forward(nn::Run& run, const Tensor& latent) const {
  Tensor x = mid_block_.forward(run, conv_in_.forward(run, latent));
  if (run.tap) run.tap("decoder.mid_block", x);
  for (std::size_t block = 0; block < up_blocks_.size(); ++block) {
    x = through(run, up_blocks_[block].resnets, std::move(x));
    if (up_blocks_[block].resample) {
      x = ops::upsample_nearest_2x(run.ops, x);
      x = up_blocks_[block].resample->forward(run, x);
    }
    tap(run, "decoder", "up_blocks", block, x);
  }
  return conv_out_.forward(run,
                           conv_norm_out_.forward(run, x, {.activation = ops::Activation::silu}));
}

AutoencoderKl::AutoencoderKl(const AutoencoderKlConfig& config, const nn::Scope& scope)
    : config_(config), decoder_(scope.child("decoder"), config) {
  const int latent = config.latent_channels;
  if (scope.child("encoder").weights.has("conv_in.weight")) {
    encoder_.emplace(scope.child("encoder"), config);
    if (config.quant_conv)
      quant_conv_.emplace(scope, "quant_conv", nn::Conv2dShape::same(2 * latent, 2 * latent, 1));
  }
  if (config.post_quant_conv)
    post_quant_conv_.emplace(scope, "post_quant_conv", nn::Conv2dShape::same(latent, latent, 1));
}

Posterior AutoencoderKl::encode(nn::Run& run, const Tensor& pictures) const {
  if (!encoder_)
    fail(ErrorKind::unsupported,
         "this picture codec has no encoder: its file holds a decoder alone");
  const int factor = config_.factor();
  if (pictures.rank() != 4 || pictures.size(1) != config_.picture_channels ||
      pictures.size(2) % factor != 0 || pictures.size(3) % factor != 0) {
    fail(ErrorKind::invalid_argument,
         "picture codec: pictures are [N, {}, H, W] with H and W multiples of {}, found {}",
         config_.picture_channels, factor, pictures.shape().to_string());
  }
  Tensor x = encoder_->forward(run, ops::nchw_to_nhwc(run.ops, pictures));
  if (quant_conv_) x = quant_conv_->forward(run, x);
  const Tensor moments = ops::nhwc_to_nchw(run.ops, x);
  const Shape half = {moments.size(0), config_.latent_channels, moments.size(2), moments.size(3)};
  Posterior posterior{.mean = Tensor::allocate(half, DType::f32),
                      .logvar = Tensor::allocate(half, DType::f32)};
  const std::int64_t values = half.count() / half[0];
  for (std::int64_t picture = 0; picture < half[0]; ++picture) {
    const float* from = moments.data<float>() + 2 * picture * values;
    std::copy_n(from, values, posterior.mean.mutable_data<float>() + picture * values);
    std::transform(from + values, from + 2 * values,
                   posterior.logvar.mutable_data<float>() + picture * values,
                   [](float value) { return std::clamp(value, -30.0f, 20.0f); });
  }
  return posterior;
}

Tensor AutoencoderKl::decode(nn::Run& run, const Tensor& latents) const {
  if (latents.rank() != 4 || latents.size(1) != config_.latent_channels) {
    fail(ErrorKind::invalid_argument, "picture codec: latents are [N, {}, h, w], found {}",
         config_.latent_channels, latents.shape().to_string());
  }
  Tensor x = ops::nchw_to_nhwc(run.ops, latents);
  if (post_quant_conv_) x = post_quant_conv_->forward(run, x);
  return ops::nhwc_to_nchw(run.ops, decoder_.forward(run, x));
}

}  // namespace velatura::models::autoencoder_kl
