// Configurations of all families: what is read, and what is refused by name.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "models/autoencoder_kl/config.h"
#include "models/autoencoder_tiny/config.h"
#include "models/clip/config.h"
#include "models/rrdbnet/config.h"
#include "models/unet/config.h"
#include "tests/support/memory_source.h"

namespace velatura::models {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using unet::UNetConfig;

/// The error that `call` throws.
template <typename Call>
Error error_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return Error(ErrorKind::internal, "");
}

TEST(UNetConfig, PublishedSd15) {
  // Of the published file, what differs from diffusers' defaults or older versions of it lack.
  const UNetConfig config = UNetConfig::from_json(R"({
    "_class_name": "UNet2DConditionModel", "act_fn": "silu", "attention_head_dim": 8,
    "block_out_channels": [320, 640, 1280, 1280], "center_input_sample": false, "cross_attention_dim": 768,
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "downsample_padding": 1, "flip_sin_to_cos": true, "freq_shift": 0, "in_channels": 4, "layers_per_block": 2,
    "mid_block_scale_factor": 1, "norm_eps": 1e-05, "norm_num_groups": 32, "out_channels": 4, "sample_size": 64,
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"]})");
  EXPECT_EQ(config, UNetConfig{}) << "the struct's own defaults are SD 1.5's";
}

TEST(UNetConfig, ListsHeadsAndMixedBlocks) {
  const UNetConfig config = UNetConfig::from_json(R"({
    "block_out_channels": [32, 64], "norm_num_groups": 16, "layers_per_block": [1, 3], "attention_head_dim": [2, 4],
    "transformer_layers_per_block": [1, 2], "cross_attention_dim": [48, 48], "use_linear_projection": true,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"], "time_embedding_dim": 96,
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"], "flip_sin_to_cos": false, "freq_shift": 1})");
  EXPECT_THAT(config.heads, ElementsAre(2, 4)) << "attention_head_dim is the number of heads";
  EXPECT_THAT(config.layers, ElementsAre(1, 3));
  EXPECT_THAT(config.transformer_layers, ElementsAre(1, 2));
  EXPECT_THAT(config.down_attention, ElementsAre(false, true));
  EXPECT_THAT(config.up_attention, ElementsAre(true, false));
  EXPECT_EQ(config.cross_attention_dim, 48);
  EXPECT_EQ(config.time_embedding_dim, 96);
  EXPECT_TRUE(config.linear_projection);
  EXPECT_FALSE(config.flip_sin_to_cos);
  EXPECT_EQ(config.frequency_shift, 1);
  EXPECT_THAT(UNetConfig::from_json(R"({"num_attention_heads": 4, "attention_head_dim": 8})").heads,
              ElementsAre(4, 4, 4, 4));
}

TEST(UNetConfig, RefusesVariantsByName) {
  for (
      const char* field :
      {R"("addition_embed_type": "text_time")", R"("class_embed_type": "timestep")",
       R"("num_class_embeds": 10)", R"("time_cond_proj_dim": 256)",
       R"("only_cross_attention": true)", R"("act_fn": "mish")",
       R"("mid_block_type": "UNetMidBlock2DSimpleCrossAttn")",
       R"("resnet_time_scale_shift": "scale_shift")", R"("conv_in_kernel": 1)",
       R"("encoder_hid_dim": 768)", R"("_class_name": "FluxTransformer2DModel")",
       R"("down_block_types": ["AttnDownBlock2D", "DownBlock2D", "DownBlock2D", "DownBlock2D"])"}) {
    const Error error = error_of([&] { UNetConfig::from_json(std::string("{") + field + "}"); });
    EXPECT_EQ(error.kind(), ErrorKind::unsupported) << error.what();
    const std::string text(field);
    EXPECT_THAT(error.what(), HasSubstr(text.substr(0, text.find(':')))) << "names the field";
  }
}

TEST(UNetConfig, RefusesNonsense) {
  for (const char* text :
       {"", "[]", "{\"in_channels\": 0}", "{\"in_channels\": 1e30}", "{\"in_channels\": 99999999}",
        "{\"block_out_channels\": []}", "{\"block_out_channels\": [320, -1]}",
        "{\"block_out_channels\": [20, 20, 20, 20]}", "{\"down_block_types\": [\"DownBlock2D\"]}",
        "{\"attention_head_dim\": 7}", "{\"norm_eps\": \"small\"}",
        "{\"layers_per_block\": [1, 2]}", "{\"cross_attention_dim\": [1, 2]}",
        "{\"flip_sin_to_cos\": 3}"}) {
    EXPECT_EQ(error_of([&] { UNetConfig::from_json(text); }).kind(), ErrorKind::bad_file) << text;
  }
}

TEST(ClipTextConfig, ReadsTransformersFields) {
  const auto config = clip::ClipTextConfig::from_json(R"({
    "model_type": "clip_text_model", "hidden_act": "gelu", "hidden_size": 32, "intermediate_size": 37,
    "num_attention_heads": 4, "num_hidden_layers": 5, "vocab_size": 1000, "eos_token_id": 2})");
  EXPECT_EQ(config.width, 32);
  EXPECT_EQ(config.feed_forward_width, 37);
  EXPECT_EQ(config.layers, 5);
  EXPECT_EQ(config.activation, ops::Activation::gelu);
  EXPECT_EQ(config.end_token, 2);
  EXPECT_EQ(error_of([] { clip::ClipTextConfig::from_json(R"({"hidden_act": "relu"})"); }).kind(),
            ErrorKind::unsupported);
  EXPECT_EQ(error_of([] {
              clip::ClipTextConfig::from_json(R"({"hidden_size": 30, "num_attention_heads": 4})");
            }).kind(),
            ErrorKind::bad_file);
}

TEST(AutoencoderKlConfig, ReadsDiffusersFields) {
  const auto config = autoencoder_kl::AutoencoderKlConfig::from_json(R"({
    "block_out_channels": [32, 64, 96], "norm_num_groups": 16, "layers_per_block": 1, "scaling_factor": 0.5,
    "shift_factor": null, "use_quant_conv": false, "mid_block_add_attention": false})");
  EXPECT_EQ(config.factor(), 4);
  EXPECT_EQ(config.scaling_factor, 0.5f);
  EXPECT_EQ(config.shift_factor, 0);
  EXPECT_FALSE(config.quant_conv);
  EXPECT_TRUE(config.post_quant_conv);
  EXPECT_FALSE(config.mid_attention);
  EXPECT_EQ(autoencoder_kl::AutoencoderKlConfig{}.factor(), 8);
  EXPECT_EQ(error_of([] {
              autoencoder_kl::AutoencoderKlConfig::from_json(R"({"latents_mean": [0]})");
            }).kind(),
            ErrorKind::unsupported);
  EXPECT_EQ(error_of([] {
              autoencoder_kl::AutoencoderKlConfig::from_json(R"({"scaling_factor": 0})");
            }).kind(),
            ErrorKind::bad_file);
}

TEST(AutoencoderTinyConfig, HalvesAreFoundFromNames) {
  testing::MemorySource source;
  const auto add = [&](const std::string& name, const Shape& shape) {
    source.add(name, Tensor::zeros(shape, DType::f16));
  };
  add("decoder.layers.0.weight", {8, 5, 3, 3});
  add("decoder.layers.2.conv.0.weight", {8, 8, 3, 3});
  add("decoder.layers.3.conv.0.weight", {8, 8, 3, 3});
  add("decoder.layers.5.weight", {8, 8, 3, 3});
  add("decoder.layers.6.conv.0.weight", {8, 8, 3, 3});
  add("decoder.layers.7.weight", {3, 8, 3, 3});
  add("decoder.layers.7.bias", {3});
  const auto config = autoencoder_tiny::AutoencoderTinyConfig::detect(source);
  EXPECT_THAT(config.decoder_blocks, ElementsAre(2, 1));
  EXPECT_TRUE(config.encoder_blocks.empty());
  EXPECT_EQ(config.width, 8);
  EXPECT_EQ(config.latent_channels, 5);
  EXPECT_EQ(config.factor(), 2);
  EXPECT_EQ(error_of([] {
              autoencoder_tiny::AutoencoderTinyConfig::detect(testing::MemorySource());
            }).kind(),
            ErrorKind::bad_file);
}

TEST(RrdbNetConfig, SizesAreFoundFromShapes) {
  testing::MemorySource source;
  const auto add = [&](const std::string& name, const Shape& shape) {
    source.add(name, Tensor::zeros(shape, DType::f16));
  };
  add("conv_first.weight", {24, 3, 3, 3});
  add("conv_last.weight", {3, 24, 3, 3});
  add("body.0.rdb1.conv1.weight", {12, 24, 3, 3});
  add("body.1.rdb1.conv1.weight", {12, 24, 3, 3});
  add("conv_up1.weight", {24, 24, 3, 3});
  add("conv_up2.weight", {24, 24, 3, 3});
  const auto config = rrdbnet::RrdbNetConfig::detect(source);
  EXPECT_EQ(config.features, 24);
  EXPECT_EQ(config.growth, 12);
  EXPECT_EQ(config.blocks, 2);
  EXPECT_EQ(config.scale(), 4);
  EXPECT_EQ(error_of([] { rrdbnet::RrdbNetConfig::detect(testing::MemorySource()); }).kind(),
            ErrorKind::bad_file);
}

}  // namespace
}  // namespace velatura::models
