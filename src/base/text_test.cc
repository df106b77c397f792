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

TEST(Text, PythonsInfinitiesBecomeNull) {
  EXPECT_EQ(json_without_infinities(R"({"a": -Infinity, "b": [NaN, Infinity]})"),
            R"({"a": null, "b": [null, null]})");
  EXPECT_EQ(json_without_infinities(R"({"NaN": "a \" NaN", "b": "\\"})"),
            R"({"NaN": "a \" NaN", "b": "\\"})");
  EXPECT_EQ(json_without_infinities("\"\\"), "\"\\");
}

}  // namespace
}  // namespace velatura
