// The rows of full-size models against their published names, and other depths against the index
// arithmetic.
#include "models/ldm_checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/error.h"
#include "models/autoencoder_kl/names.h"
#include "models/clip/names.h"
#include "models/manifest.h"
#include "models/unet/names.h"

namespace velatura::models {

namespace {

std::vector<std::string> names(const weights::NameMap& rows, bool canonical) {
  std::vector<std::string> result;
  for (const weights::NameRow& row : rows) result.push_back(canonical ? row.canonical : row.file);
  return result;
}
std::vector<std::string> names(const std::vector<weights::TensorInfo>& tensors) {
  std::vector<std::string> result;
  for (const weights::TensorInfo& info : tensors) {
    if (!is_known_unused(info.name)) result.push_back(info.name);
  }
  return result;
}

/// Names and shapes without values.
class Listing : public weights::Source {
 public:
  explicit Listing(std::vector<weights::TensorInfo> tensors) : tensors_(std::move(tensors)) {}
  const std::vector<weights::TensorInfo>& tensors() const override { return tensors_; }
  Tensor load(std::string_view name) const override {
    return Tensor::zeros(find(name)->shape, DType::f16);
  }
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  std::string description() const override { return "listing"; }
  void release(std::string_view) const override {}

 private:
  std::vector<weights::TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
};

TEST(LdmNames, UNetOfSd15) {
  const weights::NameMap rows = unet::ldm_names({});
  EXPECT_THAT(names(rows, true),
              ::testing::UnorderedElementsAreArray(names(manifest("sd15.unet.diffusers"))));
  EXPECT_THAT(names(rows, false),
              ::testing::UnorderedElementsAreArray(names(manifest("sd15.unet.native"))));
}

TEST(LdmNames, CodecOfSd15) {
  const weights::NameMap rows = autoencoder_kl::ldm_names({});
  EXPECT_THAT(names(rows, true),
              ::testing::UnorderedElementsAreArray(names(manifest("kl4.vae.diffusers"))));
  EXPECT_THAT(names(rows, false),
              ::testing::UnorderedElementsAreArray(names(manifest("kl4.vae.native"))));
}

TEST(LdmNames, TextEncoderOfSd15) {
  const weights::NameMap rows = clip::names({});
  for (const std::string& name : names(manifest("clip_l"))) {
    for (const char* prefix : {"cond_stage_model.transformer.", ""}) {
      const bool known = std::any_of(rows.begin(), rows.end(), [&](const weights::NameRow& row) {
        return row.canonical == name && row.file == prefix + name;
      });
      EXPECT_TRUE(known) << prefix << name;
    }
  }
}

TEST(LdmNames, OneLayerABlock) {
  unet::UNetConfig config;
  config.block_channels = {96, 160, 224};
  config.layers = {1, 1, 1};
  config.down_attention = {false, true, true};
  config.up_attention = {true, true, false};
  config.transformer_layers = {1, 1, 1};
  config.heads = {4, 4, 4};
  const weights::NameMap rows = unet::ldm_names(config, "");
  const auto file_of = [&](const std::string& canonical) {
    const auto row = std::find_if(rows.begin(), rows.end(),
                                  [&](const auto& r) { return r.canonical == canonical; });
    return row == rows.end() ? "nothing" : row->file;
  };
  EXPECT_EQ(file_of("down_blocks.0.downsamplers.0.conv.weight"), "input_blocks.2.0.op.weight");
  EXPECT_EQ(file_of("down_blocks.1.attentions.0.norm.bias"), "input_blocks.3.1.norm.bias");
  EXPECT_EQ(file_of("down_blocks.2.resnets.0.conv_shortcut.weight"),
            "input_blocks.5.0.skip_connection.weight");
  EXPECT_EQ(file_of("up_blocks.0.upsamplers.0.conv.weight"), "output_blocks.1.2.conv.weight");
  EXPECT_EQ(file_of("up_blocks.2.resnets.1.norm2.weight"), "output_blocks.5.0.out_layers.0.weight");
  EXPECT_EQ(file_of("up_blocks.2.upsamplers.0.conv.weight"), "nothing");
  config.up_attention[0] = false;
  EXPECT_EQ(unet::ldm_names(config, "").size(), rows.size() - 2 * (6 + 3 * 2 + 6 + 2 * 2 + 2 * 2));
}

TEST(LdmCheckpoint, DetectsSd15) {
  std::vector<weights::TensorInfo> all = manifest("sd15.unet.native");
  for (const char* part : {"kl4.vae.native", "clip_l"}) {
    for (weights::TensorInfo info : manifest(part)) {
      if (std::string_view(part) == "clip_l")
        info.name = "cond_stage_model.transformer." + info.name;
      all.push_back(std::move(info));
    }
  }
  for (const char* extra :
       {"betas", "model_ema.decay",
        "cond_stage_model.transformer.text_model.embeddings.position_ids", "surprise"}) {
    all.push_back({extra, Shape{1}, DType::f32});
  }
  const auto file = std::make_shared<Listing>(all);
  const LdmConfigs found = detect_ldm(*file);
  EXPECT_TRUE(found.unet == unet::UNetConfig{});
  EXPECT_TRUE(found.vae == autoencoder_kl::AutoencoderKlConfig{});
  EXPECT_TRUE(found.text_encoder == clip::ClipTextConfig{});
  const LdmCheckpoint parts = open_ldm(file, found);
  EXPECT_EQ(parts.unet->tensors().size(), manifest("sd15.unet.native").size());
  EXPECT_THAT(parts.unknown, ::testing::ElementsAre("surprise"));
  EXPECT_EQ(parts.known_unused.size(), 3u);
}

TEST(LdmCheckpoint, OlderSpellingOfTheTextEncoder) {
  std::vector<weights::TensorInfo> tensors = manifest("clip_l");
  for (weights::TensorInfo& info : tensors)
    info.name.replace(0, 11, "cond_stage_model.transformer.");
  const auto file = std::make_shared<Listing>(tensors);
  const LdmCheckpoint parts = open_ldm(file, detect_ldm(*file));
  ASSERT_NE(parts.text_encoder, nullptr);
  EXPECT_EQ(parts.unet, nullptr);
  EXPECT_NE(parts.text_encoder->find("text_model.encoder.layers.11.mlp.fc2.bias"), nullptr);
  EXPECT_TRUE(parts.unknown.empty());
}

}  // namespace

}  // namespace velatura::models
