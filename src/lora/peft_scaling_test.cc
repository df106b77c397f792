#include "lora/peft_scaling.h"

#include <gtest/gtest.h>

#include <cmath>

#include "velatura/error.h"

namespace velatura::lora {
namespace {

constexpr const char* kModule = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q";

double factor(const char* json, const char* module = kModule, std::int64_t rank = 4) {
  return parse_peft_config(json, "test").factor(module, rank);
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

TEST(PeftScaling, PatternsThatCouldTakeForeverAreRefused) {
  for (const char* json : {R"json({"alpha_pattern": {"(a*)*b": 1}})json",
                           R"json({"alpha_pattern": {"(a|aa)+$": 1}})json",
                           R"json({"alpha_pattern": {".*.*.*.*x": 1}})json",
                           R"json({"alpha_pattern": {"(.)\\1": 1}})json"})
    EXPECT_EQ(error_of(json), ErrorKind::unsupported) << json;
}

TEST(PeftScaling, MetadataNamesItsComponents) {
  const auto scalings = parse_peft_metadata(
      R"json({"unet.r": 4, "unet.lora_alpha": 8, "text_encoder.lora_alpha": 2, "noise": 1})json",
      "test");
  ASSERT_EQ(scalings.size(), 2u);
  EXPECT_EQ(scalings.at("unet").factor(kModule, 4), 2);
  EXPECT_EQ(scalings.at("text_encoder").factor(kModule, 4), 0.5);
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
  EXPECT_EQ(parse_header_alpha("16")->factor(kModule, 4), 4);
  EXPECT_FALSE(parse_header_alpha("sixteen"));
  EXPECT_FALSE(parse_header_alpha("{}"));
}

}  // namespace
}  // namespace velatura::lora
