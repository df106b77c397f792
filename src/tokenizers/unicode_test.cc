#include "tokenizers/unicode.h"

#include <gtest/gtest.h>

namespace velatura::tokenizers {
namespace {

TEST(SanitiseUtf8, KeepsWellFormedText) {
  const std::string text = "a\0b é 狐 🦊 \xf4\x8f\xbf\xbf";
  EXPECT_EQ(sanitise_utf8(text), text);
  EXPECT_EQ(sanitise_utf8(""), "");
}

TEST(SanitiseUtf8, ReplacesEachMaximalIllFormedPart) {
  // As Python's bytes.decode("utf-8", "replace").
  EXPECT_EQ(sanitise_utf8("\xff"), "\uFFFD");
  EXPECT_EQ(sanitise_utf8("a\xe7\x8b"), "a\uFFFD");  // cut off inside a character
  EXPECT_EQ(sanitise_utf8("\xe7\x8b"
                          "a"),
            "\uFFFDa");
  EXPECT_EQ(sanitise_utf8("\xed\xa0\x80"), "\uFFFD\uFFFD\uFFFD");            // a surrogate
  EXPECT_EQ(sanitise_utf8("\xc0\xaf"), "\uFFFD\uFFFD");                      // overlong
  EXPECT_EQ(sanitise_utf8("\xf4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");  // above U+10FFFF
  EXPECT_EQ(sanitise_utf8("\xf0\x9f\xa6"), "\uFFFD");
  EXPECT_EQ(sanitise_utf8("\x80\x80"), "\uFFFD\uFFFD");
}

TEST(Compose, JoinsCombiningMarks) {
  EXPECT_EQ(compose("e\u0301"), "\u00e9");
  EXPECT_EQ(compose("plain"), "plain");
  EXPECT_EQ(compose("\ufb01"), "\ufb01");  // a compatibility character stays
}

TEST(ToLower, GoesCharacterByCharacter) {
  EXPECT_EQ(to_lower("AbÅÑЖ ΟΔΟΣ ẞ"), "abåñж οδοσ ß");
  EXPECT_EQ(to_lower("İ"), "i\u0307");
}

TEST(Classes, SpaceAndWord) {
  for (const char32_t c : {U' ', U'\t', U'\n', char32_t{0x85}, char32_t{0xa0}, char32_t{0x3000}}) {
    EXPECT_TRUE(is_space(c)) << static_cast<unsigned>(c);
  }
  for (const char32_t c : {U'a', U'_', char32_t{0x200b}, char32_t{0xfeff}}) {
    EXPECT_FALSE(is_space(c)) << static_cast<unsigned>(c);
  }
  for (const char32_t c : {U'a', U'Z', U'9', U'_', U'é', U'狐', U'½'}) EXPECT_TRUE(is_word(c));
  for (const char32_t c : {U' ', U',', U'，', U'-', char32_t{0x1f98a}}) EXPECT_FALSE(is_word(c));
}

}  // namespace
}  // namespace velatura::tokenizers
