#include "models/unet/unet.h"

#include <cmath>
#include <string>

#include "base/error.h"
#include "base/stop_token.h"
#include "ops/elementwise.h"

namespace velatura::models::unet {

namespace {

nn::ResnetBlock resnet(const nn::Scope& scope, std::int64_t in, std::int64_t out,
                       const UNetConfig& config) {
  return nn::ResnetBlock(scope, {.in_channels = in,
                                 .out_channels = out,
                                 .norm_groups = config.norm_groups,
                                 .norm_epsilon = config.norm_epsilon,
                                 .time_width = config.time_embedding_dim});
}

/// The transformers of level `level`, counted from the outermost.
TransformerShape transformer_shape(const UNetConfig& config, std::size_t level) {
  return {.channels = config.block_channels[level],
          .heads = config.heads[level],
          .layers = config.transformer_layers[level],
          .text_width = config.cross_attention_dim,
          .norm_groups = config.norm_groups,
          .linear_projection = config.linear_projection};
}

Level down_level(const nn::Scope& scope, const UNetConfig& config, std::size_t level) {
  const std::int64_t in = config.block_channels[level == 0 ? 0 : level - 1],
                     out = config.block_channels[level];
  Level made;
  for (int layer = 0; layer < config.layers[level]; ++layer) {
    made.resnets.push_back(
        resnet(scope.child("resnets").child(layer), layer == 0 ? in : out, out, config));
    if (config.down_attention[level]) {
      made.attentions.emplace_back(scope.child("attentions").child(layer),
                                   transformer_shape(config, level));
    }
  }
  if (level + 1 < config.block_channels.size()) {
    nn::Conv2dShape halving = nn::Conv2dShape::same(out, out);
    halving.geometry.stride = 2;
    made.resample.emplace(scope.child("downsamplers").child(0), "conv", halving);
  }
  return made;
}

Level mid_level(const nn::Scope& scope, const UNetConfig& config) {
  const std::size_t level = config.block_channels.size() - 1;
  const std::int64_t channels = config.block_channels[level];
  Level made;
  made.resnets.push_back(resnet(scope.child("resnets").child(0), channels, channels, config));
  made.attentions.emplace_back(scope.child("attentions").child(0),
                               transformer_shape(config, level));
  made.resnets.push_back(resnet(scope.child("resnets").child(1), channels, channels, config));
  return made;
}

/// Up block `block` mirrors level `blocks - 1 - block` with one residual block more. Each takes the
/// state beside one skip of the down path, whose widths are, innermost last: conv_in's, then each
/// level's and its resampled one's.
Level up_level(const nn::Scope& scope, const UNetConfig& config, std::size_t block) {
  const std::size_t level = config.block_channels.size() - 1 - block;
  const std::int64_t out = config.block_channels[level];
  const std::int64_t previous = config.block_channels[block == 0 ? level : level + 1];
  const std::int64_t next = config.block_channels[level == 0 ? 0 : level - 1];
  const int layers = config.layers[level] + 1;
  Level made;
  for (int layer = 0; layer < layers; ++layer) {
    const std::int64_t state = layer == 0 ? previous : out, skip = layer + 1 == layers ? next : out;
    made.resnets.push_back(resnet(scope.child("resnets").child(layer), state + skip, out, config));
    if (config.up_attention[block]) {
      made.attentions.emplace_back(scope.child("attentions").child(layer),
                                   transformer_shape(config, level));
    }
  }
  if (level > 0) {
    made.resample.emplace(scope.child("upsamplers").child(0), "conv",
                          nn::Conv2dShape::same(out, out));
  }
  return made;
}

/// Sinusoids of the timesteps, f32 [N, width] (diffusers' get_timestep_embedding, in its order of
/// float operations).
Tensor sinusoids(nn::Run& run, std::int64_t batch, std::span<const float> timesteps,
                 const UNetConfig& config) {
  const std::int64_t width = config.block_channels.front(), half = width / 2;
  const float log_period = -std::log(10000.0f);
  Tensor result = run.ops.allocate({batch, width}, DType::f32);
  for (std::int64_t picture = 0; picture < batch; ++picture) {
    const float timestep = timesteps[timesteps.size() == 1 ? 0 : static_cast<std::size_t>(picture)];
    float* row = result.mutable_data<float>() + picture * width;
    float* sines = config.flip_sin_to_cos ? row + half : row;
    float* cosines = config.flip_sin_to_cos ? row : row + half;
    for (std::int64_t i = 0; i < half; ++i) {
      const float exponent =
          log_period * static_cast<float>(i) / (static_cast<float>(half) - config.frequency_shift);
      const float angle = timestep * std::exp(exponent);
      sines[i] = std::sin(angle);
      cosines[i] = std::cos(angle);
    }
  }
  return result;
}

void check_arguments(const UNetConfig& config, const Tensor& sample,
                     std::span<const float> timesteps, const Tensor& text) {
  if (sample.rank() != 4 || sample.size(1) != config.in_channels || sample.size(2) < 1 ||
      sample.size(3) < 1) {
    fail(ErrorKind::invalid_argument, "unet: the sample is [N, {}, h, w], found {}",
         config.in_channels, sample.shape().to_string());
  }
  if (text.rank() != 3 || text.size(0) != sample.size(0) ||
      text.size(2) != config.cross_attention_dim) {
    fail(ErrorKind::invalid_argument, "unet: the text is [{}, L, {}], found {}", sample.size(0),
         config.cross_attention_dim, text.shape().to_string());
  }
  if (timesteps.size() != 1 && timesteps.size() != static_cast<std::size_t>(sample.size(0))) {
    fail(ErrorKind::invalid_argument,
         "unet: {} timesteps for {} samples; one for all or one each is expected", timesteps.size(),
         sample.size(0));
  }
}

void tap(const nn::Run& run, std::string_view blocks, std::size_t block, const Tensor& x) {
  if (run.tap) run.tap(std::string(blocks) + "." + std::to_string(block), x);
}

}  // namespace

UNet::UNet(const UNetConfig& config, const nn::Scope& scope)
    : config_(config),
      time_linear_1_(scope.child("time_embedding"), "linear_1", config.block_channels.front(),
                     config.time_embedding_dim),
      time_linear_2_(scope.child("time_embedding"), "linear_2", config.time_embedding_dim,
                     config.time_embedding_dim),
      conv_in_(scope, "conv_in",
               nn::Conv2dShape::same(config.in_channels, config.block_channels.front())),
      mid_block_(mid_level(scope.child("mid_block"), config)),
      conv_norm_out_(scope, "conv_norm_out", config.block_channels.front(), config.norm_groups,
                     config.norm_epsilon),
      conv_out_(scope, "conv_out",
                nn::Conv2dShape::same(config.block_channels.front(), config.out_channels)) {
  for (std::size_t block = 0; block < config.block_channels.size(); ++block) {
    const auto index = static_cast<std::int64_t>(block);
    down_blocks_.push_back(down_level(scope.child("down_blocks").child(index), config, block));
    up_blocks_.push_back(up_level(scope.child("up_blocks").child(index), config, block));
  }
}

Tensor UNet::forward(nn::Run& run, const Tensor& sample, std::span<const float> timesteps,
                     const Tensor& text) const {
  check_arguments(config_, sample, timesteps, text);
  const Tensor time = embed_time(run, sample.size(0), timesteps);
  const Tensor words = ops::cast(run.ops, text, run.ops.compute());
  const Condition condition{.time = time, .text = words};

  Tensor x = conv_in_.forward(run, ops::nchw_to_nhwc(run.ops, sample));
  if (run.tap) run.tap("conv_in", x);
  std::vector<Tensor> skips;
  x = down(run, std::move(x), condition, skips);
  x = middle(run, x, condition);
  x = up(run, std::move(x), condition, skips);
  x = conv_norm_out_.forward(run, x, {.activation = ops::Activation::silu});
  return ops::nhwc_to_nchw(run.ops, conv_out_.forward(run, x));
}

Tensor UNet::embed_time(nn::Run& run, std::int64_t batch, std::span<const float> timesteps) const {
  constexpr auto kSilu = ops::Activation::silu;
  const Tensor waves =
      ops::cast(run.ops, sinusoids(run, batch, timesteps, config_), run.ops.compute());
  // Every residual block begins with silu(embedding): it is taken once, here.
  return time_linear_2_.forward(run, time_linear_1_.forward(run, waves, {.activation = kSilu}),
                                {.activation = kSilu});
}

Tensor UNet::down(nn::Run& run, Tensor x, const Condition& condition,
                  std::vector<Tensor>& skips) const {
  skips.push_back(x);
  for (std::size_t block = 0; block < down_blocks_.size(); ++block) {
    const Level& level = down_blocks_[block];
    for (std::size_t layer = 0; layer < level.resnets.size(); ++layer) {
      throw_if_stopped(run.stop);
      x = level.resnets[layer].forward(run, x, &condition.time);
      if (!level.attentions.empty()) x = level.attentions[layer].forward(run, x, condition.text);
      skips.push_back(x);
    }
    if (level.resample) {
      x = level.resample->forward(run, x);
      skips.push_back(x);
    }
    tap(run, "down_blocks", block, x);
  }
  return x;
}

Tensor UNet::middle(nn::Run& run, const Tensor& x, const Condition& condition) const {
  throw_if_stopped(run.stop);
  Tensor h = mid_block_.resnets[0].forward(run, x, &condition.time);
  h = mid_block_.attentions[0].forward(run, h, condition.text);
  h = mid_block_.resnets[1].forward(run, h, &condition.time);
  if (run.tap) run.tap("mid_block", h);
  return h;
}

Tensor UNet::up(nn::Run& run, Tensor x, const Condition& condition,
                std::vector<Tensor>& skips) const {
  for (std::size_t block = 0; block < up_blocks_.size(); ++block) {
    const Level& level = up_blocks_[block];
    for (std::size_t layer = 0; layer < level.resnets.size(); ++layer) {
      throw_if_stopped(run.stop);
      x = ops::concat_channels(run.ops, x, skips.back());
      skips.pop_back();
      x = level.resnets[layer].forward(run, x, &condition.time);
      if (!level.attentions.empty()) x = level.attentions[layer].forward(run, x, condition.text);
    }
    if (level.resample) {
      // An odd extent was rounded up on the way down; the next skip knows which it was.
      x = ops::upsample_nearest_2x(run.ops, x, skips.back().size(1), skips.back().size(2));
      x = level.resample->forward(run, x);
    }
    tap(run, "up_blocks", block, x);
  }
  return x;
}

}  // namespace velatura::models::unet
