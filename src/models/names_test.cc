// The spellings of the small networks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/autoencoder_kl/names.h"
#include "models/autoencoder_tiny/names.h"
#include "models/rrdbnet/names.h"

namespace velatura::models {

namespace {

using ::testing::ElementsAre;

class Listing : public weights::Source {
 public:
  explicit Listing(std::initializer_list<const char*> names) {
    for (const char* name : names) tensors_.push_back({name, Shape{1}, DType::f32});
  }
  const std::vector<weights::TensorInfo>& tensors() const override { return tensors_; }
  Tensor load(std::string_view) const override { return {}; }
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  std::string description() const override { return "listing"; }
  void release(std::string_view) const override {}

 private:
  std::vector<weights::TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
};

std::vector<std::string> canonical(const weights::NameMap& rows) {
  std::vector<std::string> names;
  for (const weights::NameRow& row : rows) names.push_back(row.canonical);
  return names;
}

TEST(TinyNames, DecoderOfTheAuthorCountsItsClamp) {
  EXPECT_THAT(canonical(autoencoder_tiny::names(Listing{"1.weight", "3.conv.0.weight", "19.bias"})),
              ElementsAre("decoder.layers.0.weight", "decoder.layers.2.conv.0.weight",
                          "decoder.layers.18.bias"));
}

TEST(TinyNames, EncoderOfTheAuthorBeginsAtZero) {
  EXPECT_THAT(canonical(autoencoder_tiny::names(Listing{"0.weight", "1.conv.0.weight", "14.bias"})),
              ElementsAre("encoder.layers.0.weight", "encoder.layers.1.conv.0.weight",
                          "encoder.layers.14.bias"));
}

TEST(TinyNames, BothHalvesInOneFile) {
  EXPECT_THAT(canonical(autoencoder_tiny::names(
                  Listing{"taesd_encoder.0.weight", "taesd_decoder.1.weight", "vae_scale"})),
              ElementsAre("encoder.layers.0.weight", "decoder.layers.0.weight"));
  EXPECT_THAT(canonical(autoencoder_tiny::names(
                  Listing{"encoder.layers.0.weight", "decoder.layers.0.weight"})),
              ElementsAre("encoder.layers.0.weight", "decoder.layers.0.weight"));
  EXPECT_TRUE(autoencoder_tiny::names(Listing{"conv_first.weight", "0"}).empty());
}

TEST(RrdbNames, AveragedWeightsComeFirst) {
  EXPECT_THAT(
      canonical(rrdbnet::names(Listing{"params.conv_first.weight", "params_ema.conv_first.weight",
                                       "params_ema.conv_last.bias"})),
      ElementsAre("conv_first.weight", "conv_last.bias"));
  EXPECT_THAT(canonical(rrdbnet::names(Listing{"conv_first.weight"})),
              ElementsAre("conv_first.weight"));
  EXPECT_TRUE(rrdbnet::names(Listing{"model.0.weight"}).empty());
}

TEST(KlNames, OlderAttentionOfDiffusersFolders) {
  const weights::NameMap rows = autoencoder_kl::diffusers_names({});
  const auto has = [&](const char* name, const char* file) {
    for (const weights::NameRow& row : rows) {
      if (row.canonical == name && row.file == file) return true;
    }
    return false;
  };
  EXPECT_TRUE(has("encoder.mid_block.attentions.0.to_q.weight",
                  "encoder.mid_block.attentions.0.query.weight"));
  EXPECT_TRUE(has("decoder.mid_block.attentions.0.to_out.0.bias",
                  "decoder.mid_block.attentions.0.proj_attn.bias"));
  EXPECT_TRUE(has("decoder.conv_in.weight", "decoder.conv_in.weight"));
}

}  // namespace

}  // namespace velatura::models
