#include "lora/tools/peft_header.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace velatura::lora::tools {
namespace {

using Json = nlohmann::json;

TEST(PeftHeader, IsLeftOutWhereNoModuleHasAnAlpha) {
  PeftHeader header;
  header.state({.component = "unet", .path = "a.to_q", .rank = 4, .alpha = {}});
  EXPECT_EQ(header.text(), "");
  EXPECT_TRUE(header.remarks().empty());
}

TEST(PeftHeader, HasEveryComponentWhereOneHasAnAlpha) {
  PeftHeader header;
  header.state({.component = "transformer", .path = "a.to_q", .rank = 4, .alpha = {}});
  header.state({.component = "text_encoder", .path = "b.fc1", .rank = 8, .alpha = 2});
  const Json json = Json::parse(header.text());
  EXPECT_EQ(json.at("transformer.r"), 4);
  EXPECT_EQ(json.at("transformer.lora_alpha"), 4);
  EXPECT_TRUE(json.at("transformer.rank_pattern").is_object());
  EXPECT_EQ(json.at("transformer.target_modules"), Json::array({"a.to_q"}));
  EXPECT_EQ(json.at("text_encoder.lora_alpha"), 2);
}

TEST(PeftHeader, AnnouncesMagnitudesAndBiases) {
  PeftHeader header;
  header.state(
      {.component = "unet", .path = "a.to_q", .rank = 4, .alpha = 2, .has_magnitude = true});
  header.state(
      {.component = "text_encoder", .path = "b.fc1", .rank = 4, .alpha = 2, .has_bias = true});
  const Json json = Json::parse(header.text());
  EXPECT_EQ(json.at("unet.use_dora"), true);
  EXPECT_FALSE(json.contains("unet.lora_bias"));
  EXPECT_EQ(json.at("text_encoder.lora_bias"), true);
  EXPECT_FALSE(json.contains("text_encoder.use_dora"));
}

TEST(PeftHeader, RemarksOnRanksThatALoaderScalesAlike) {
  PeftHeader header;
  header.state({.component = "unet", .path = "a.to_k", .rank = 4, .alpha = {}});
  header.state({.component = "unet", .path = "a.to_q", .rank = 4, .alpha = {}});
  header.state({.component = "unet", .path = "a.to_v", .rank = 2, .alpha = {}});
  ASSERT_EQ(header.remarks().size(), 1U);
  EXPECT_NE(header.remarks()[0].find("unet: ranks from 2 to 4"), std::string::npos);
  header.state({.component = "unet", .path = "a.to_v", .rank = 2, .alpha = 1});
  EXPECT_TRUE(header.remarks().empty());
  EXPECT_EQ(Json::parse(header.text()).at("unet.rank_pattern"), Json({{"a.to_v", 2}}));
}

}  // namespace
}  // namespace velatura::lora::tools
