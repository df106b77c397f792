#include "lora/peft_patterns.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>

#include "velatura/error.h"

namespace velatura::lora {
namespace {

bool matches(std::string_view pattern, std::string_view name) {
  return NamePattern(pattern, "test").matches(name);
}

std::optional<ErrorKind> error_of(const std::string& pattern) {
  try {
    NamePattern(pattern, "test");
  } catch (const Error& error) {
    return error.kind();
  }
  return std::nullopt;
}

/// Each row was answered by re.match(rf"(.*\.)?({pattern})$", name).
TEST(NamePattern, AnswersAsPythonDoes) {
  struct Row {
    const char* pattern;
    const char* name;
    bool matches;
  };
  for (const Row& row :
       std::initializer_list<Row>{{"to_q", "a.to_q", true},
                                  {"to_q", "a.not_to_q", false},
                                  {".*attn1\\.to_(q|k)", "x.attn1.to_k", true},
                                  {".*attn1\\.to_(q|k)", "x.attn1_to_k", false},
                                  {"to_[qkv]", "a.to_v", true},
                                  {"to_[^qkv]", "a.to_v", false},
                                  {"to_[a-k]", "to_k", true},
                                  {"[]x]", "]", true},
                                  {"blocks\\.\\d+\\.attn", "blocks.12.attn", true},
                                  {"blocks\\.\\d+\\.attn", "blocks.x.attn", false},
                                  {"blocks\\.[0-9]{1,2}\\.attn", "blocks.12.attn", true},
                                  {"blocks\\.[0-9]{1,2}\\.attn", "blocks.123.attn", false},
                                  {"a{3}", "aaa", true},
                                  {"a{3}", "aa", false},
                                  {"a{2,}b", "aaaab", true},
                                  {"a{2,}b", "ab", false},
                                  {"a{0}b", "b", true},
                                  {"(?:single_)?blocks.0", "single_blocks.0", true},
                                  {"(?:single_)?blocks.0", "x.blocks.0", true},
                                  {"(?:single_)?blocks.0", "double_blocks.0", false},
                                  {"^to_(q|k)", "to_q", true},
                                  {"^to_(q|k)", "a.to_q", false},
                                  {"to_(q|k)$", "a.to_q", true},
                                  {"a|b|c.d", "x.c.d", true},
                                  {"a|b|c.d", "x.b", true},
                                  {"a|b|c.d", "xb", false},
                                  {"(a*)*b", "aaab", true},
                                  {"(a|aa)+$", "aaaaa", true},
                                  {"(a|aa)+$", "aaaab", false},
                                  {"(a?b?)*c", "ababbac", true},
                                  {"a+?b", "aaab", true},
                                  {"()", "a.", true},
                                  {"", "", true},
                                  {"\\w+\\W\\w+", "x.ab.cd", true},
                                  {"a.b", "axb", true},
                                  {"((x|y)z|w)*", "xzwyz", true},
                                  {"((x|y)z|w)*", "xzwy", false}}) {
    EXPECT_EQ(matches(row.pattern, row.name), row.matches) << row.pattern << " on " << row.name;
  }
}

TEST(NamePattern, DamageAndWhatIsBeyondIt) {
  for (const char* pattern : {"(", ")", "a)", "[", "[a", "*", "a**", "\\", "a{2,1}", "[b-a]"})
    EXPECT_EQ(error_of(pattern), ErrorKind::bad_file) << pattern;
  for (const char* pattern : {"(?=a)", "(?<!a)", "(.)\\1", "\\bx", "(?i)x", "a++", "^*"})
    EXPECT_EQ(error_of(pattern), ErrorKind::unsupported) << pattern;
}

TEST(NamePattern, BoundedWhateverItSays) {
  const auto begin = std::chrono::steady_clock::now();
  for (const std::string& pattern :
       {std::string(1 << 20, '('), std::string(1000, '('), std::string("(((){1000}){1000}){1000}"),
        std::string("((a{999}){999}){999}"), std::string("a{99999999999999999999}")})
    EXPECT_NE(error_of(pattern), std::nullopt) << pattern.substr(0, 40);
  std::string optional;
  for (int i = 0; i < 200; ++i) optional += "(a|a|aa)*";
  optional.resize(100 * 9);
  const std::string name(4096, 'a');
  EXPECT_FALSE(matches("(a|a|aa)*(a*)*(.*.*)*x", name));
  EXPECT_FALSE(matches(".*.*.*.*.*.*.*.*x", name));
  EXPECT_EQ(error_of(optional), std::nullopt);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

std::optional<double> first_of(std::initializer_list<const char*> rows, std::string_view name) {
  PeftPatterns patterns;
  double number = 0;
  for (const char* row : rows) patterns.add(row, number++, "test");
  return patterns.find(name);
}

TEST(PeftPatterns, TheFirstCountsWhateverItsKind) {
  EXPECT_EQ(first_of({"to_q", "attn.to_q"}, "a.attn.to_q"), 0);
  EXPECT_EQ(first_of({"attn.to_q", "to_q"}, "a.attn.to_q"), 0);
  EXPECT_EQ(first_of({"attn.to_k", "to_q"}, "a.attn.to_q"), 1);
  EXPECT_EQ(first_of({"to_[qk]", "to_q"}, "a.to_q"), 0);
  EXPECT_EQ(first_of({"to_q", "to_[qk]"}, "a.to_q"), 0);
  EXPECT_EQ(first_of({"to_v", "to_[qk]"}, "a.to_q"), 1);
  EXPECT_EQ(first_of({"^to_q", "to_q$", "to_q"}, "a.to_q"), 1);
  EXPECT_EQ(first_of({"^a.to_q$", "to_q"}, "a.to_q"), 0);
  EXPECT_EQ(first_of({"a\\.to_q"}, "a.to_q"), 0);
  EXPECT_EQ(first_of({"to_q", "to_q"}, "to_q"), 0);
  EXPECT_EQ(first_of({"to_q"}, "to_q.0"), std::nullopt);
  EXPECT_EQ(first_of({}, "to_q"), std::nullopt);
}

TEST(PeftPatterns, ManyNamesAndFewExpressions) {
  PeftPatterns patterns;
  for (int i = 0; i < 100'000; ++i) patterns.add(fmt::format("blocks.{}.attn", i), i, "test");
  for (int repeat = 0; repeat < 1000; ++repeat)
    EXPECT_EQ(patterns.find("unet.blocks.99999.attn"), 99'999);
  for (std::size_t i = 0; i < PeftPatterns::kMostExpressions; ++i)
    patterns.add(fmt::format("a{}.*", i), 0, "test");
  patterns.add("plain", 0, "test");
  EXPECT_THROW(patterns.add("b.*", 0, "test"), Error);
}

}  // namespace
}  // namespace velatura::lora
