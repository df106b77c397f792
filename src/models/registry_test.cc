#include "models/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "models/inspect.h"
#include "models/manifest.h"

namespace velatura::models {

namespace {

using ::testing::HasSubstr;

class Listing : public weights::Source {
 public:
  explicit Listing(std::vector<weights::TensorInfo> tensors) : tensors_(std::move(tensors)) {}
  const std::vector<weights::TensorInfo>& tensors() const override { return tensors_; }
  Tensor load(std::string_view) const override { return {}; }
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  std::string description() const override { return "listing"; }
  void release(std::string_view) const override {}

 private:
  std::vector<weights::TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
};

struct Row {
  const char* name;
  Shape shape;
};
FileIdentity identity_of(std::initializer_list<Row> rows) {
  std::vector<weights::TensorInfo> tensors;
  for (const Row& row : rows) tensors.push_back({row.name, row.shape, DType::f16});
  return identify(Listing(tensors));
}

TEST(Registry, PartsOfSd15) {
  for (const auto& [name, kind] : {std::pair{"sd15.unet.native", FileKind::denoiser},
                                   {"sd15.unet.diffusers", FileKind::denoiser},
                                   {"kl4.vae.native", FileKind::codec},
                                   {"kl4.vae.diffusers", FileKind::codec},
                                   {"clip_l", FileKind::text_encoder}}) {
    const FileIdentity identity = identify(Listing(manifest(name)));
    EXPECT_EQ(identity.kind, kind) << name;
    EXPECT_TRUE(identity.supported) << name << ": " << identity.reason;
  }
}

TEST(Registry, WholeCheckpoint) {
  std::vector<weights::TensorInfo> tensors = manifest("sd15.unet.native");
  for (const auto& info : manifest("kl4.vae.native")) tensors.push_back(info);
  for (auto info : manifest("clip_l"))
    tensors.push_back({"cond_stage_model.transformer." + info.name, info.shape, info.dtype});
  const FileIdentity identity = identify(Listing(tensors));
  EXPECT_EQ(identity.kind, FileKind::checkpoint);
  EXPECT_EQ(identity.family, "sd15");
  EXPECT_TRUE(identity.supported) << identity.reason;
}

TEST(Registry, VariantsAreRefusedByName) {
  for (const auto& [channels, what] :
       {std::pair{9, "inpainting"}, {8, "instruct-pix2pix"}, {5, "depth"}}) {
    const FileIdentity identity = identity_of(
        {{"conv_in.weight", {320, channels, 3, 3}},
         {"conv_out.weight", {4, 320, 3, 3}},
         {"time_embedding.linear_1.weight", {1280, 320}},
         {"mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight", {1280, 768}}});
    EXPECT_FALSE(identity.supported);
    EXPECT_THAT(identity.reason, HasSubstr(what));
    try {
      require_supported(identity, "model.safetensors");
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::unsupported);
      EXPECT_THAT(error.what(), HasSubstr("model.safetensors"));
    }
  }
}

TEST(Registry, OtherFamiliesAreRefusedByName) {
  const auto unet = [](std::int64_t cross, bool vector) {
    std::vector<weights::TensorInfo> tensors = {
        {"model.diffusion_model.input_blocks.0.0.weight", Shape{320, 4, 3, 3}, DType::f16},
        {"model.diffusion_model.out.2.weight", Shape{4, 320, 3, 3}, DType::f16},
        {"model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight",
         Shape{1280, cross}, DType::f16}};
    if (vector)
      tensors.push_back(
          {"model.diffusion_model.label_emb.0.0.weight", Shape{1280, 2816}, DType::f16});
    return identify(Listing(tensors));
  };
  EXPECT_THAT(unet(1024, false).reason, HasSubstr("Stable Diffusion 2"));
  EXPECT_THAT(unet(2048, true).reason, HasSubstr("Stable Diffusion XL"));
  EXPECT_THAT(unet(1280, true).reason, HasSubstr("refiner"));
  EXPECT_TRUE(unet(768, false).supported);
  const struct {
    Row row;
    const char* reason;
  } cases[] = {{{"double_blocks.0.img_attn.qkv.weight", {9216, 3072}}, "FLUX.1"},
               {{"double_stream_modulation_img.lin.weight", {9216, 3072}}, "FLUX.2"},
               {{"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", {4608, 1536}},
                "Stable Diffusion 3"},
               {{"noise_refiner.0.attention_norm1.weight", {3840}}, "Z-Image"},
               {{"controlnet_cond_embedding.conv_in.weight", {16, 3, 3, 3}}, "ControlNet"},
               {{"ip_adapter.1.to_k_ip.weight", {320, 768}}, "IP-Adapter"},
               {{"encoder.block.0.layer.0.SelfAttention.q.weight", {4096, 4096}}, "T5"},
               {{"decoder.layers.0.weight", {64, 16, 3, 3}}, "16 latent channels"},
               {{"something.else", {3, 4, 5}}, "something.else"}};
  for (const auto& one : cases) {
    const FileIdentity identity = identity_of({one.row});
    EXPECT_FALSE(identity.supported) << one.row.name;
    EXPECT_THAT(identity.reason, HasSubstr(one.reason));
  }
}

TEST(Registry, SmallParts) {
  const FileIdentity decoder =
      identity_of({{"1.weight", {64, 4, 3, 3}}, {"3.conv.0.weight", {64, 64, 3, 3}}});
  EXPECT_EQ(decoder.kind, FileKind::codec);
  EXPECT_EQ(decoder.variant, "decoder");
  EXPECT_TRUE(decoder.supported);
  EXPECT_EQ(identity_of({{"params_ema.conv_first.weight", {64, 3, 3, 3}},
                         {"params_ema.body.0.rdb1.conv1.weight", {32, 64, 3, 3}}})
                .kind,
            FileKind::upscaler);
  EXPECT_EQ(identity_of({{"<birb>", {768}}}).kind, FileKind::embedding);
  EXPECT_TRUE(identity_of({{"string_to_param.*", {2, 64}}}).supported);
  EXPECT_THAT(identity_of({{"string_to_param.*", {2, 1024}}}).reason,
              HasSubstr("Stable Diffusion 2"));
}

TEST(Registry, Adapters) {
  EXPECT_EQ(identity_of({{"0", {4, 320}}, {"1", {320, 4}}}).kind, FileKind::adapter);
  const FileIdentity sd15 = identity_of(
      {{"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight",
        {8, 768}}});
  EXPECT_EQ(sd15.family, "sd15");
  EXPECT_TRUE(sd15.supported);
  EXPECT_THAT(
      identity_of(
          {{"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight",
            {8, 2048}}})
          .reason,
      HasSubstr("Stable Diffusion XL"));
  EXPECT_THAT(
      identity_of({{"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight", {8, 3072}}}).reason,
      HasSubstr("FLUX.1"));
}

TEST(Inspect, CountsTypesAndBytes) {
  const Description description =
      describe(Listing({{"betas", Shape{4}, DType::f32}, {"x.weight", Shape{2, 3}, DType::f16}}));
  EXPECT_EQ(description.tensor_bytes, 28u);
  EXPECT_EQ(description.types.at("f32"), 1u);
  EXPECT_EQ(description.identity.kind, FileKind::unknown);
  EXPECT_THAT(description.known_unused, ::testing::ElementsAre("betas"));
}

}  // namespace

}  // namespace velatura::models
