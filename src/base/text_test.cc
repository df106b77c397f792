#include "base/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace velatura {
namespace {

TEST(Text, EditDistanceCountsEdits) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("flaw", "lawn"), edit_distance("lawn", "flaw"));
}

TEST(Text, NearestNamesComeFirstAndKeepTheOrderOfEquals) {
  const std::vector<std::string> known = {"heun", "euler", "euler_a", "lms"};
  EXPECT_THAT(nearest_names("Eular", known), ::testing::ElementsAre("euler", "euler_a", "heun"));
  EXPECT_THAT(nearest_names("x", known, 9).size(), 4u);
  EXPECT_TRUE(nearest_names("x", {}).empty());
}

TEST(Text, WantedNamesOfAnyLengthTakeBoundedTime) {
  const std::vector<std::string> known(1000, "up_blocks_0_attentions_0_to_q");
  EXPECT_EQ(nearest_names(std::string(1 << 24, 'q'), known, 1), std::vector{known.front()});
}

TEST(Text, BlanksAndCapitals) {
  EXPECT_EQ(trimmed(" \t\r\n\v\fa b\n"), "a b");
  EXPECT_EQ(trimmed(" \n"), "");
  EXPECT_EQ(lowered("AbZ[ÄÖ]"), "abz[ÄÖ]");
}

TEST(Text, SizesAreRounded) {
  EXPECT_EQ(size_text(34'760), "34.8 kB");
  EXPECT_EQ(size_text(1'530'000), "1.5 MB");
  EXPECT_EQ(size_text(144'400'000), "144 MB");
  EXPECT_EQ(size_text(6'938'000'000), "6.94 GB");
}

TEST(Text, LongNamesAreCutAtACharacter) {
  EXPECT_EQ(shortened("lora_unet", 9), "lora_unet");
  EXPECT_EQ(shortened("lora_unet", 4), "lora…");
  EXPECT_EQ(shortened("aäö", 2), "a…");
  EXPECT_EQ(shortened("aäö", 3), "aä…");
  EXPECT_EQ(shortened("\x80\x80\x80", 2), "…");
}

TEST(Text, PythonsInfinitiesBecomeNull) {
  EXPECT_EQ(json_without_infinities(R"({"a": -Infinity, "b": [NaN, Infinity]})"),
            R"({"a": null, "b": [null, null]})");
  EXPECT_EQ(json_without_infinities(R"({"NaN": "a \" NaN", "b": "\\"})"),
            R"({"NaN": "a \" NaN", "b": "\\"})");
  EXPECT_EQ(json_without_infinities("\"\\"), "\"\\");
}

}  // namespace
}  // namespace velatura
