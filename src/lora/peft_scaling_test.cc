#include "lora/peft_scaling.h"

#include <gtest/gtest.h>

#include <cmath>

#include "velatura/error.h"

namespace velatura::lora {
namespace {

constexpr const char* kModule = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q";
constexpr PeftModule kThere{.name = kModule, .path = kModule};

double factor(const char* json, const char* module = kModule, std::int64_t rank = 4) {
  return parse_peft_config(json, "test").factor({.name = module, .path = module}, rank);
}

ErrorKind error_of(const char* json) {
  try {
    parse_peft_config(json, "test");
  } catch (const Error& error) {
    return error.kind();
  }
  ADD_FAILURE() << "no error for " << json;
  return ErrorKind::internal;
}

TEST(PeftScaling, AlphaOverRank) {
  EXPECT_EQ(factor(R"json({"lora_alpha": 16})json"), 4);
  EXPECT_EQ(factor(R"json({"r": 99, "lora_alpha": 16})json"), 4) << "the rank is the tensors'";
  EXPECT_EQ(factor("{}"), 2) << "LoraConfig's default is 8";
  EXPECT_EQ(factor(R"json({"lora_alpha": null})json"), 2);
}

TEST(PeftScaling, RankStabilised) {
  EXPECT_EQ(factor(R"json({"lora_alpha": 16, "use_rslora": true})json"), 8);
  EXPECT_EQ(factor(R"json({"lora_alpha": 16, "use_rslora": false})json"), 4);
}

TEST(PeftScaling, PatternsMatchTheEndAfterADot) {
  const char* json = R"json({"lora_alpha": 4, "alpha_pattern": {"to_q": 8}})json";
  EXPECT_EQ(factor(json), 2);
  EXPECT_EQ(factor(json, "x.not_to_q"), 1);
  EXPECT_EQ(factor(json, "to_q"), 2);
  EXPECT_EQ(factor(json, "to_q.0"), 1);
}

TEST(PeftScaling, TheFirstPatternInTheFilesOrderWins) {
  EXPECT_EQ(factor(R"json({"alpha_pattern": {"to_q": 8, "attn1.to_q": 16}})json"), 2);
  EXPECT_EQ(factor(R"json({"alpha_pattern": {"attn1.to_q": 16, "to_q": 8}})json"), 4);
}

TEST(PeftScaling, PatternsAreRegularExpressions) {
  EXPECT_EQ(factor(R"json({"lora_alpha": 4, "alpha_pattern": {".*attn1\\.to_(q|k)": 8}})json"), 2);
  EXPECT_EQ(factor(R"json({"lora_alpha": 4, "alpha_pattern": {"^to_q": 8}})json"), 1)
      << "^ anchors";
  EXPECT_EQ(factor(R"json({"lora_alpha": 4, "alpha_pattern": {"^to_q$": 8}})json", "to_q"), 2);
}

TEST(PeftScaling, DamageIsNamed) {
  for (const char* json :
       {"", "[]", "7", R"json({"lora_alpha": "x"})json", R"json({"lora_alpha": 1e999})json",
        R"json({"alpha_pattern": {"(": 1}})json", R"json({"alpha_pattern": {"a": null}})json"})
    EXPECT_EQ(error_of(json), ErrorKind::bad_file) << json;
}

TEST(PeftScaling, PatternsAreOfTheNamesThatWereTrained) {
  const PeftScaling scaling = parse_peft_config(
      R"json({"lora_alpha": 4, "alpha_pattern": {"img_attn.proj": 16, "^txt_in": 2}})json", "test");
  const char* path = "transformer_blocks.0.attn.to_out.0";
  const auto factor_of = [&](const char* name) {
    return scaling.factor({.name = name, .path = path}, 4);
  };
  EXPECT_EQ(factor_of("base_model.model.double_blocks.0.img_attn.proj"), 4);
  EXPECT_EQ(factor_of("transformer.double_blocks.0.img_attn.proj"), 4);
  EXPECT_EQ(factor_of("base_model.model.double_blocks.0.txt_attn.proj"), 1);
  EXPECT_EQ(factor_of("base_model.model.txt_in"), 0.5) << "^ is the trained model's beginning";
  EXPECT_EQ(factor_of("base_model.model.y.txt_in"), 1);
  const PeftScaling canonical =
      parse_peft_config(R"json({"alpha_pattern": {"attn.to_out.0": 16}})json", "test");
  EXPECT_EQ(canonical.factor({.name = "lora_unet_double_blocks_0_img_attn_proj", .path = path}, 4),
            4);
}

TEST(PeftScaling, LycorisConfigurationsSayAlpha) {
  EXPECT_EQ(factor(R"json({"peft_type": "LOHA", "alpha": 2, "r": 4})json"), 0.5);
  EXPECT_EQ(factor(R"json({"peft_type": "LOKR", "alpha": 2, "r": 4})json"), 0.5);
  EXPECT_EQ(factor(R"json({"peft_type": "LOHA"})json"), 2) << "8 is their default too";
  EXPECT_EQ(factor(R"json({"peft_type": "LOKR", "alpha": 16, "use_rslora": true})json"), 4);
  EXPECT_EQ(factor(R"json({"peft_type": "LOHA", "alpha": 2, "alpha_pattern": {"to_q": 8}})json"),
            2);
  EXPECT_EQ(factor(R"json({"peft_type": "LORA", "alpha": 2, "lora_alpha": 16})json"), 4);
}

TEST(PeftScaling, AWholeLokrTakesTheRankThatWasAskedFor) {
  const auto whole = [](const char* json) {
    return parse_peft_config(json, "test").factor_without_rank(kThere);
  };
  EXPECT_EQ(whole(R"json({"peft_type": "LOKR", "alpha": 2, "r": 64})json"), 2.0 / 64);
  EXPECT_EQ(whole(R"json({"peft_type": "LOKR", "alpha": 2})json"), 0.25);
  EXPECT_EQ(whole(R"json({"peft_type": "LOKR", "alpha": 2, "rank_pattern": {"to_q": 16}})json"),
            0.125);
  EXPECT_EQ(whole(R"json({"lora_alpha": 2, "r": 64})json"), 1) << "no LoKrConfig";
}

TEST(PeftScaling, MetadataNamesItsComponents) {
  const auto scalings = parse_peft_metadata(
      R"json({"unet.r": 4, "unet.lora_alpha": 8, "text_encoder.lora_alpha": 2, "noise": 1})json",
      "test");
  ASSERT_EQ(scalings.size(), 2u);
  EXPECT_EQ(scalings.at("unet").factor(kThere, 4), 2);
  EXPECT_EQ(scalings.at("text_encoder").factor(kThere, 4), 0.5);
}

TEST(PeftScaling, TextIsTheIdentity) {
  const auto text = [](const char* json) { return parse_peft_config(json, "test").text; };
  EXPECT_EQ(text("{}"), text(R"json({"lora_alpha": 8, "r": 3})json"));
  EXPECT_NE(text("{}"), text(R"json({"lora_alpha": 9})json"));
  EXPECT_NE(text("{}"), text(R"json({"use_rslora": true})json"));
  EXPECT_NE(text(R"json({"alpha_pattern": {"a": 1}})json"),
            text(R"json({"alpha_pattern": {"a": 2}})json"));
}

TEST(PeftScaling, Rotations) {
  const PeftRotation standard = parse_peft_config("{}", "test").rotation;
  EXPECT_TRUE(standard.is_series);
  EXPECT_EQ(standard.terms, 5);
  EXPECT_FALSE(standard.is_constrained);
  EXPECT_EQ(standard.eps, 6e-5);
  const PeftScaling read = parse_peft_config(
      R"json({"use_cayley_neumann": false, "num_cayley_neumann_terms": 7, "coft": true, "eps": 1e-3})json",
      "test");
  EXPECT_FALSE(read.rotation.is_series);
  EXPECT_EQ(read.rotation.terms, 7);
  EXPECT_TRUE(read.rotation.is_constrained);
  EXPECT_EQ(read.rotation.eps, 1e-3);
  EXPECT_NE(read.text, parse_peft_config("{}", "test").text);
  const auto scalings =
      parse_peft_metadata(R"json({"unet.use_cayley_neumann": false})json", "test");
  EXPECT_FALSE(scalings.at("unet").rotation.is_series);
  for (const char* json :
       {R"json({"num_cayley_neumann_terms": 0})json",
        R"json({"num_cayley_neumann_terms": 1e9})json",
        R"json({"num_cayley_neumann_terms": 2.5})json", R"json({"eps": "x"})json"})
    EXPECT_EQ(error_of(json), ErrorKind::bad_file) << json;
}

TEST(PeftScaling, ASingleNumberInAHeader) {
  EXPECT_EQ(parse_header_alpha("16")->factor(kThere, 4), 4);
  EXPECT_FALSE(parse_header_alpha("sixteen"));
  EXPECT_FALSE(parse_header_alpha("{}"));
}

}  // namespace
}  // namespace velatura::lora
