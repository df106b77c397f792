#include "lora/bind/family.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/toy_adapters.h"
#include "velatura/error.h"

namespace velatura::lora {
namespace {

using testing::add_pair;
using ::testing::HasSubstr;
using testing::MemorySource;
using testing::ToyModel;

/// What binding says of a file with a pair that fits and one under `module` with inputs of `width`.
std::string said_of(const std::string& module, std::int64_t width) {
  MemorySource source;
  add_pair(source, "unet." + ToyModel::kQuery, 2, ToyModel::kOut, ToyModel::kIn);
  add_pair(source, module, 2, ToyModel::kOut, width);
  try {
    ToyModel().bind(source);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::mismatch);
    return error.what();
  }
  return "bound";
}

TEST(Family, ByNamesEvenWhereOtherLayersFit) {
  struct Row {
    const char* module;
    const char* family;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"lora_te2_text_model_encoder_layers_0_self_attn_q_proj", "SDXL"},
           {"text_encoder_2.text_model.encoder.layers.0.mlp.fc1", "SDXL"},
           {"lora_unet_double_blocks_0_img_attn_qkv", "FLUX.1"},
           {"transformer.single_transformer_blocks.3.attn.to_q", "FLUX.1"},
           {"transformer.transformer_blocks.3.attn.to_q", "FLUX.1"},
           {"diffusion_model.layers.0.attention.to_q", "Z-Image"},
           {"lora_unet_layers_4_feed_forward_w1", "Z-Image"},
           {"diffusion_model.noise_refiner.0.attention.qkv", "Z-Image"},
           {"transformer.joint_blocks.0.x", "SD3"},
           {"transformer.transformer_blocks.3.img_mlp.net.2", "Qwen-Image"}}) {
    const std::string said = said_of(row.module, 6);
    EXPECT_THAT(said, HasSubstr(std::string("was made for ") + row.family)) << row.module;
    EXPECT_THAT(said, HasSubstr(row.module)) << "the deciding tensor";
  }
}

TEST(Family, ByTheWidthOfTheText) {
  const std::string key = "lora_unet_" + flatten(ToyModel::kKey);
  EXPECT_THAT(said_of(key, 1024), HasSubstr("SD 2.x"));
  EXPECT_THAT(said_of(key, 1024), HasSubstr("[2, 1024], a text width of 1024"));
  EXPECT_THAT(said_of(key, 2048), HasSubstr("SDXL"));
  EXPECT_THAT(said_of(key, 1280), HasSubstr("the SDXL refiner"));
  EXPECT_THAT(said_of(key, 768), HasSubstr("SD 1.x")) << "the toy model reads another width";
  EXPECT_THAT(said_of("unet.up_blocks.7.attn2.to_v", 2048), HasSubstr("SDXL"))
      << "a layer that the model lacks";
  EXPECT_EQ(said_of(key, 77), "bound") << "a width of no family says nothing";
  EXPECT_EQ(said_of(key, ToyModel::kText), "bound");
}

TEST(Family, OneLayerThatFitsSettlesIt) {
  MemorySource source;
  add_pair(source, "unet." + ToyModel::kKey, 2, ToyModel::kOut, ToyModel::kText);
  add_pair(source, "unet.up_blocks.7.attn2.to_v", 2, ToyModel::kOut, 2048);
  EXPECT_EQ(ToyModel().bind(source)->report.bound_modules(), 1);
}

TEST(Family, TheDenoiserDecidesBeforeTheTextEncoder) {
  MemorySource source;  // SDXL's first text encoder is SD 1.x's
  add_pair(source, "lora_te_" + flatten(ToyModel::kTextQuery), 2, ToyModel::kText, ToyModel::kText);
  add_pair(source, "unet." + ToyModel::kKey, 2, ToyModel::kOut, 2048);
  try {
    ToyModel().bind(source);
    ADD_FAILURE() << "bound";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("SDXL"));
  }
}

TEST(Family, TextEncoderAlone) {
  MemorySource source;
  add_pair(source, "lora_te_" + flatten(ToyModel::kTextQuery), 2, 1024, 1024);
  try {
    ToyModel().bind(source);
    ADD_FAILURE() << "bound";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("SD 2.x"));
  }
}

TEST(Family, LayoutsWithoutNames) {
  const auto error_of = [](const char* up, const char* down, std::int64_t width) {
    MemorySource source;
    source.add(up, testing::uniform_tensor({8, 2}, DType::f32, 1));
    source.add(down, testing::uniform_tensor({2, width}, DType::f32, 1));
    try {
      ToyModel().bind(source);
    } catch (const Error& error) {
      return std::pair(error.kind(), std::string(error.what()));
    }
    return std::pair(ErrorKind::internal, std::string("bound"));
  };
  const auto [kind, text] = error_of("unet:0:up", "unet:0:down", 768);
  EXPECT_EQ(kind, ErrorKind::unsupported);
  EXPECT_THAT(text, HasSubstr("first LoRA trainer's layout"));
  EXPECT_EQ(error_of("0", "1", 768).first, ErrorKind::unsupported);
  EXPECT_THAT(error_of("0", "1", 1024).second, HasSubstr("SD 2.x"));
}

}  // namespace
}  // namespace velatura::lora
