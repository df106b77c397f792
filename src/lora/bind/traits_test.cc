#include "lora/bind/traits.h"

#include <gtest/gtest.h>

#include <random>

namespace velatura::lora {

namespace {

TEST(Pattern, LeavesOutNumbersBetweenSeparators) {
  EXPECT_EQ(pattern_of("lora_unet_down_blocks_3_resnets_10_conv1.lora_down.weight"),
            "lora_unet_down_blocks_#_resnets_#_conv1_lora_down_weight");
  EXPECT_EQ(pattern_of("12.34"), "#_#");
  EXPECT_EQ(pattern_of("1a.2"), "1a_#");
  EXPECT_EQ(pattern_of("te1_x.7b8"), "te1_x_7b8");
  EXPECT_EQ(pattern_of("._.5."), "___#_");
  EXPECT_EQ(pattern_of(""), "");
}

TEST(Pattern, NothingOfAnEarlierNameStays) {
  std::string pattern;
  for (const char* name : {"a.123456.long_name", "b", "", "c.1"}) {
    pattern_of(name, pattern);
    EXPECT_EQ(pattern, pattern_of(name));
  }
}

TEST(CharacterRuns, NeverDenyWhatIsThere) {
  std::mt19937 random(7);
  for (int i = 0; i < 200; ++i) {
    std::string text(random() % 60, ' ');
    for (char& letter : text) letter = static_cast<char>(random());
    CharacterRuns runs;
    runs.add(text);
    for (std::size_t begin = 0; begin < text.size(); ++begin) {
      for (std::size_t length = 0; begin + length <= text.size(); ++length)
        ASSERT_TRUE(runs.may_contain(std::string_view(text).substr(begin, length)));
    }
  }
}

TEST(CharacterRuns, DenyMostOfWhatIsNot) {
  CharacterRuns runs;
  runs.add("lora_unet_down_blocks_#_attentions_#_proj_in_lora_down_weight");
  EXPECT_FALSE(runs.may_contain("double_blocks_#"));
  EXPECT_FALSE(runs.may_contain("vera_lambda"));
  EXPECT_TRUE(CharacterRuns().may_contain("abc"));  // too short to be told
}

}  // namespace

}  // namespace velatura::lora
