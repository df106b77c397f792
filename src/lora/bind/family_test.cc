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
           {"lora_unet_label_emb_0_0", "SDXL"},
           {"unet.down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_q", "SDXL"},
           {"lora_unet_double_blocks_0_img_attn_qkv", "FLUX.1"},
           {"transformer.single_transformer_blocks.3.attn.to_q", "FLUX.1"},
           {"transformer.transformer_blocks.3.attn.to_q", "FLUX.1"},
           {"diffusion_model.layers.0.attention.to_q", "Z-Image"},
           {"lora_unet_layers_4_feed_forward_w1", "Z-Image"},
           {"diffusion_model.noise_refiner.0.attention.qkv", "Z-Image"},
           {"transformer.joint_blocks.0.x", "SD3"},
           {"transformer.transformer_blocks.3.img_mlp.net.2", "Qwen-Image"},
           {"transformer.transformer_blocks.19.attn.to_q", "Qwen-Image"},
           {"transformer.double_stream_modulation_img.lin", "FLUX.2"},
           {"diffusion_model.blocks.0.cross_attn.q_proj", "Anima"},
           {"lora_unet_blocks_0_attn_wq", "Krea 2"},
           {"diffusion_model.blocks.0.cross_attn.k", "Wan"},
           {"diffusion_model.distilled_guidance_layer.in_proj", "Chroma"},
           {"lora_unet_txt_in_individual_token_refiner_blocks_0_mlp_0", "HunyuanVideo"},
           {"lora_unet_txt_in_individual_token_refiner_blocks_0_self_attn_qkv", "HunyuanVideo"},
           {"transformer.context_embedder.token_refiner.refiner_blocks.0.attn.to_q",
            "HunyuanVideo"}}) {
    const std::string said = said_of(row.module, 6);
    EXPECT_THAT(said, HasSubstr(std::string("was made for ") + row.family)) << row.module;
    EXPECT_THAT(said, HasSubstr(row.module)) << "the deciding tensor";
    EXPECT_THAT(said, HasSubstr("the loaded model is SD1.5"));
  }
}

TEST(Family, ByWidthsThatNoOtherHas) {
  struct Row {
    const char* module;
    std::int64_t width;
    const char* family;
  };
  for (const Row& row : std::initializer_list<Row>{
           {"transformer.transformer_blocks.3.attn.add_q_proj", 1536, "SD3"},
           {"transformer.transformer_blocks.3.attn.add_q_proj", 2432, "SD3.5"},
           {"transformer.single_transformer_blocks.3.attn.to_q", 6144, "FLUX.2"},
           {"diffusion_model.txt_in", 15360, "FLUX.2"},
           {"diffusion_model.layers.0.attention.to_q", 2304, "Lumina 2"}}) {
    EXPECT_THAT(said_of(row.module, row.width), HasSubstr(std::string("made for ") + row.family))
        << row.module;
  }
}

/// The kind that a file of one such tensor is.
std::string kind_of(const std::string& tensor, const Shape& shape = {4, 4}) {
  auto source = std::make_shared<MemorySource>();
  source->add(tensor, testing::uniform_tensor(shape, DType::f32, 1));
  const FamilyVerdict verdict = detect_family(*AdapterFile::from_source(source, "a.safetensors"));
  EXPECT_FALSE(verdict.is_adapter) << tensor;
  EXPECT_EQ(verdict.id, "") << tensor;
  return verdict.name;
}

TEST(Family, OtherKindsOfFiles) {
  EXPECT_THAT(kind_of("transformer_blocks.0.mlp_fc1.lora_down"), HasSubstr("Nunchaku"));
  EXPECT_EQ(kind_of("lora_controlnet"), "ControlNet-LoRA");
  EXPECT_EQ(kind_of("ip_adapter.1.to_k_ip.weight"), "IP-Adapter");
  EXPECT_THAT(kind_of("1.to_q_lora.down.weight"), HasSubstr("FaceID"));
  EXPECT_EQ(kind_of("control_model.input_blocks.0.0.weight"), "ControlNet");
  EXPECT_EQ(kind_of("base_model.model.to_q.vera_lambda_b"), "VeRA");
  EXPECT_EQ(kind_of("base_model.model.to_q.lora_E"), "AdaLoRA");
  const std::string peft = "base_model.model.down_blocks.0.attentions.0.attn1.to_q.";
  EXPECT_EQ(kind_of(peft + "lora_A.layer.tensor.factors.0", {1, 8, 5}), "LoRETTA");
  EXPECT_EQ(kind_of(peft + "lora_A.tt_cores.0", {1, 8, 5}), "LoRETTA");
  EXPECT_EQ(kind_of(peft + "fourierft_spectrum", {100}), "FourierFT");
  EXPECT_EQ(kind_of(peft + "unilora_theta_d", {100}), "UniLoRA");
  EXPECT_EQ(kind_of(peft + "pvera_lambda_d", {8}), "PVeRA");
  EXPECT_EQ(kind_of(peft + "boft_R", {1, 2, 4, 4}), "BOFT of PEFT");
  EXPECT_EQ(kind_of(peft + "hra_u"), "HRA");
  EXPECT_EQ(kind_of(peft + "bone_block"), "BONE");
  EXPECT_EQ(kind_of(peft + "randlora_lambda"), "RandLoRA");
  EXPECT_EQ(kind_of(peft + "lora_A.something"), "adapter of an unknown kind for SD1.5");
  EXPECT_THAT(kind_of("transformer_blocks.0.attn.processor.q_loras.0.down.weight"),
              HasSubstr("EasyControl"));
  EXPECT_THAT(kind_of("down_blocks.0.motion_modules.0.temporal_transformer.transformer_blocks.0."
                      "attention_blocks.0.processor.to_q_lora.down.weight"),
              HasSubstr("AnimateDiff"));
  EXPECT_EQ(kind_of("pulid_ca.0.to_q.weight"), "PuLID");
  EXPECT_EQ(kind_of("control_layers.0.attention.to_q.weight"), "Z-Image ControlNet");
  EXPECT_EQ(kind_of("emb_params", {2, 768}), "textual inversion");
  EXPECT_EQ(kind_of("<birb>", {768}), "textual inversion");
  EXPECT_EQ(kind_of("clip_g", {1, 1280}), "textual inversion");
  EXPECT_EQ(kind_of("decoder.conv_in.weight", {512, 4, 3, 3}), "VAE");
  EXPECT_EQ(kind_of("model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight",
                    {320, 768}),
            "checkpoint of SD1.5");
  EXPECT_EQ(kind_of("double_blocks.0.img_attn.qkv.weight", {9, 3}), "checkpoint of FLUX.1");
}

TEST(Family, MetadataIsAskedLast) {
  const auto verdict_of = [](const char* module, const char* version) {
    auto source = std::make_shared<MemorySource>();
    add_pair(*source, module, 2, 320, 320);
    source->set_metadata("ss_base_model_version", version);
    return detect_family(*AdapterFile::from_source(source, "a.safetensors"));
  };
  EXPECT_EQ(verdict_of("transformer.single_transformer_blocks.7.proj_out", "sd_1.5").id, "flux");
  EXPECT_EQ(verdict_of("lora_unet_mid_block_resnets_0_conv1", "sdxl_base_v1-0").id, "sdxl");
  EXPECT_EQ(verdict_of("lora_unet_mid_block_resnets_0_conv1", "sd_v2").name, "SD2.x");
  const FamilyVerdict unknown = verdict_of("lora_unet_mid_block_resnets_0_conv1", "");
  EXPECT_EQ(unknown.id, "sd15");
  EXPECT_FALSE(unknown.remark.empty());
}

TEST(Family, ByTheWidthOfTheText) {
  const std::string key = "lora_unet_" + flatten(ToyModel::kKey);
  EXPECT_THAT(said_of(key, 1024), HasSubstr("SD2.x"));
  EXPECT_THAT(said_of(key, 1024), HasSubstr("[2, 1024], text width 1024"));
  EXPECT_THAT(said_of(key, 2048), HasSubstr("SDXL"));
  EXPECT_THAT(said_of(key, 1280), HasSubstr("SDXL refiner"));
  EXPECT_THAT(said_of("unet.up_blocks.7.attn2.to_v", 2048), HasSubstr("SDXL"))
      << "a layer that the model lacks";
  EXPECT_EQ(said_of(key, ToyModel::kText), "bound");
}

TEST(Family, TextOfAnotherWidthRefusesTheWholePart) {
  MemorySource source;
  add_pair(source, "unet." + ToyModel::kQuery, 2, ToyModel::kOut, ToyModel::kIn);
  add_pair(source, "unet." + ToyModel::kKey, 2, ToyModel::kOut, 77);
  add_pair(source, "lora_te_" + flatten(ToyModel::kTextQuery), 2, ToyModel::kText, ToyModel::kText);
  const auto adapter = ToyModel().bind(source);
  EXPECT_EQ(adapter->report.bound_modules(), 1) << "the text encoder's";
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(adapter->report.tensors[i].fate, Fate::refused);
    EXPECT_THAT(adapter->report.tensors[i].reason, HasSubstr("reads a text 77 wide"));
  }
}

TEST(Family, AModelOfUnpublishedSizesTakesItsOwn) {
  MemorySource source;  // several transformer blocks are SDXL's, but this model has them
  add_pair(source, "unet." + ToyModel::kQuery, 2, ToyModel::kOut, ToyModel::kIn);
  add_pair(source, "unet." + ToyModel::kKey, 2, ToyModel::kOut, ToyModel::kText);
  EXPECT_EQ(ToyModel().bind(source)->report.bound_modules(), 2);
}

TEST(Family, AModelTakesItsOwnConvolutionsHoweverStored) {
  MemorySource source;  // nothing but the metadata speaks of SDXL
  add_pair(source, "unet." + ToyModel::kConv, 2, ToyModel::kOut, ToyModel::kIn * 3 * 3);
  source.set_metadata("ss_base_model_version", "sdxl_base_v1-0");
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
    EXPECT_THAT(error.what(), HasSubstr("SD2.x"));
  }
}

TEST(Family, ListsWithoutNames) {
  const auto verdict_of = [](const char* up, const char* down, const Shape& of_down) {
    auto source = std::make_shared<MemorySource>();
    source->add(up, testing::uniform_tensor({8, 2}, DType::f32, 1));
    source->add(down, testing::uniform_tensor(of_down, DType::f32, 1));
    return detect_family(*AdapterFile::from_source(source, "a.pt"));
  };
  EXPECT_EQ(verdict_of("unet:0:up", "unet:0:down", {2, 768}).id, "sd15");
  EXPECT_EQ(verdict_of("0", "1", {2, 768}).id, "sd15");
  EXPECT_EQ(verdict_of("0", "1", {2, 1024}).name, "SD2.x");
  EXPECT_THAT(verdict_of("0", "1", {2, 1024}).evidence, HasSubstr("\"1\" [2, 1024]"));
}

}  // namespace
}  // namespace velatura::lora
