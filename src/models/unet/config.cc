#include "models/unet/config.h"

#include <algorithm>

#include "base/error.h"
#include "models/config_reader.h"

namespace velatura::models::unet {

namespace {

/// Options of diffusers' UNet2DConditionModel 0.37 that change its computation and are null or
/// false in every model this family builds.
constexpr std::string_view kRefused[] = {
    "addition_embed_type",
    "center_input_sample",
    "class_embed_type",
    "class_embeddings_concat",
    "cross_attention_norm",
    "dual_cross_attention",
    "encoder_hid_dim",
    "encoder_hid_dim_type",
    "num_class_embeds",
    "only_cross_attention",
    "time_cond_proj_dim",
    "time_embedding_act_fn",
    "timestep_post_act",
    "resnet_skip_time_act",
    "mid_block_only_cross_attention",
    "projection_class_embeddings_input_dim",
    "reverse_transformer_layers_per_block",
};

void refuse_variants(const ConfigReader& reader) {
  reader.expect_text("_class_name", {"UNet2DConditionModel"});
  for (const std::string_view field : kRefused) reader.refuse(field);
  reader.expect_text("act_fn", {"silu", "swish"});
  reader.expect_text("mid_block_type", {"UNetMidBlock2DCrossAttn"});
  reader.expect_text("time_embedding_type", {"positional"});
  reader.expect_text("resnet_time_scale_shift", {"default"});
  reader.expect_text("attention_type", {"default"});
  reader.expect_number("mid_block_scale_factor", 1);
  reader.expect_number("resnet_out_scale_factor", 1);
  reader.expect_number("downsample_padding", 1);
  reader.expect_number("conv_in_kernel", 3);
  reader.expect_number("conv_out_kernel", 3);
}

std::vector<bool> attention_of(const ConfigReader& reader, std::string_view field,
                               std::string_view plain, std::string_view attentive,
                               std::vector<std::string> fallback) {
  std::vector<bool> result;
  for (const std::string& type : reader.texts(field, std::move(fallback))) {
    if (type != plain && type != attentive) {
      fail(ErrorKind::unsupported,
           "unet config.json: \"{}\" has the block type \"{}\", supported are {} and {}", field,
           type, plain, attentive);
    }
    result.push_back(type == attentive);
  }
  return result;
}

void check(const ConfigReader& reader, const UNetConfig& config) {
  const auto blocks = config.block_channels.size();
  if (config.down_attention.size() != blocks)
    reader.wrong("down_block_types", "one type for each block");
  if (config.up_attention.size() != blocks)
    reader.wrong("up_block_types", "one type for each block");
  for (std::size_t block = 0; block < blocks; ++block) {
    const int channels = config.block_channels[block];
    if (channels % config.norm_groups != 0)
      reader.wrong("block_out_channels", "multiples of norm_num_groups");
    const bool attentive = config.down_attention[block] ||
                           config.up_attention[blocks - 1 - block] || block + 1 == blocks;
    if (attentive && channels % config.heads[block] != 0) {
      reader.wrong("block_out_channels", "multiples of the number of attention heads");
    }
  }
  if (config.block_channels.front() % 2 != 0)
    reader.wrong("block_out_channels", "an even first width");
  if (config.block_channels.front() / 2 <= config.frequency_shift)
    reader.wrong("freq_shift", "0 or 1");
}

}  // namespace

UNetConfig UNetConfig::from_json(std::string_view text) {
  const ConfigReader reader(text, "unet config.json");
  refuse_variants(reader);
  UNetConfig config;
  config.in_channels = reader.count("in_channels", 4);
  config.out_channels = reader.count("out_channels", 4);
  config.block_channels = reader.counts("block_out_channels", {320, 640, 1280, 1280});
  const std::size_t blocks = config.block_channels.size();
  config.layers =
      for_each_block(reader, "layers_per_block", reader.counts("layers_per_block", {2}), blocks);
  config.down_attention = attention_of(
      reader, "down_block_types", "DownBlock2D", "CrossAttnDownBlock2D",
      {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"});
  config.up_attention =
      attention_of(reader, "up_block_types", "UpBlock2D", "CrossAttnUpBlock2D",
                   {"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"});
  // diffusers passes `num_attention_heads or attention_head_dim` on as the number of heads: a
  // misnomer it keeps because published configurations rely on it (huggingface/diffusers issue
  // 2011).
  const char* heads_field =
      reader.has("num_attention_heads") ? "num_attention_heads" : "attention_head_dim";
  config.heads = for_each_block(reader, heads_field, reader.counts(heads_field, {8}), blocks);
  config.transformer_layers =
      for_each_block(reader, "transformer_layers_per_block",
                     reader.counts("transformer_layers_per_block", {1}), blocks);
  const std::vector<int> widths = reader.counts("cross_attention_dim", {1280});
  config.cross_attention_dim = widths.front();
  if (std::any_of(widths.begin(), widths.end(),
                  [&](int width) { return width != widths.front(); })) {
    reader.wrong("cross_attention_dim", "the same width in every block");
  }
  config.norm_groups = reader.count("norm_num_groups", 32);
  config.norm_epsilon = static_cast<float>(reader.number("norm_eps", 1e-5));
  config.linear_projection = reader.boolean("use_linear_projection", false);
  config.flip_sin_to_cos = reader.boolean("flip_sin_to_cos", true);
  config.frequency_shift = static_cast<float>(reader.number("freq_shift", 0));
  config.time_embedding_dim = reader.count("time_embedding_dim", 4 * config.block_channels.front());
  config.sample_size = reader.count("sample_size", 64);
  check(reader, config);
  return config;
}

}  // namespace velatura::models::unet
