#include "pipelines/prompt/attention.h"

#include <gtest/gtest.h>

#include "velatura/error.h"

namespace velatura::pipelines::prompt {

void PrintTo(const Fragment& fragment, std::ostream* out) {
  *out << '\'' << fragment.text << "' " << fragment.weight;
}

namespace {

using Fragments = std::vector<Fragment>;
constexpr double kSquare = 1 / 1.1;

TEST(Attention,
     DocumentationOfTheWebUi) {  // the examples in parse_prompt_attention's own description
  EXPECT_EQ(parse_attention("normal text"), (Fragments{{"normal text", 1.0}}));
  EXPECT_EQ(parse_attention("an (important) word"),
            (Fragments{{"an ", 1.0}, {"important", 1.1}, {" word", 1.0}}));
  EXPECT_EQ(parse_attention("(unbalanced"), (Fragments{{"unbalanced", 1.1}}));
  EXPECT_EQ(parse_attention("\\(literal\\]"), (Fragments{{"(literal]", 1.0}}));
  EXPECT_EQ(parse_attention("(unnecessary)(parens)"), (Fragments{{"unnecessaryparens", 1.1}}));
  EXPECT_EQ(parse_attention("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky)))."),
            (Fragments{{"a ", 1.0},
                       {"house", 1.0 * 1.3 * 1.1 * 1.1},
                       {" ", 1.1},
                       {"on", kSquare * 1.1},
                       {" a ", 1.1},
                       {"hill", 0.5 * 1.1},
                       {", sun, ", 1.1},
                       {"sky", 1.1 * 1.1 * 1.1 * 1.1},
                       {".", 1.1}}));
}

TEST(Attention, UnbalancedBracketsAreText) {
  EXPECT_EQ(parse_attention("a) b] c"), (Fragments{{"a) b] c", 1.0}}));
  EXPECT_EQ(parse_attention("a:1.2) b"), (Fragments{{"a:1.2) b", 1.0}}));
  EXPECT_EQ(parse_attention("[(a]b"), (Fragments{{"a", kSquare * 1.1}, {"b", 1.1}}));
  EXPECT_EQ(parse_attention("()"), (Fragments{{"", 1.0}}));
  EXPECT_EQ(parse_attention(""), (Fragments{{"", 1.0}}));
}

TEST(Attention, Weights) {
  EXPECT_EQ(parse_attention("(a:+.5)"), (Fragments{{"a", 0.5}}));
  EXPECT_EQ(parse_attention("(a : \t-2. )b"), (Fragments{{"a ", -2.0}, {"b", 1.0}}));
  EXPECT_EQ(parse_attention("(a:0)"), (Fragments{{"a", 0.0}}));
  EXPECT_EQ(parse_attention("(a:b:1.5)"), (Fragments{{"a:b", 1.5}}));
  EXPECT_EQ(parse_attention("(a:1e3)"), (Fragments{{"a:1e3", 1.1}}));
  EXPECT_EQ(parse_attention("(a:1.2.3)"), (Fragments{{"a:1.2.3", 1.1}}));
  EXPECT_EQ(parse_attention("(a:.)"), (Fragments{{"a:.", 1.1}}));
  EXPECT_EQ(parse_attention("(a:)"), (Fragments{{"a:", 1.1}}));
}

TEST(Attention, Escapes) {
  EXPECT_EQ(parse_attention("\\\\(a)"), (Fragments{{"\\", 1.0}, {"a", 1.1}}));
  EXPECT_EQ(parse_attention("\\n \\"), (Fragments{{"n ", 1.0}}));
}

TEST(Attention, Break) {
  EXPECT_EQ(parse_attention("a BREAK b"), (Fragments{{"a", 1.0}, {"BREAK", -1.0}, {"b", 1.0}}));
  EXPECT_EQ(parse_attention("a\xe3\x80\x80\nBREAK\xc2\xa0"
                            "b"),
            (Fragments{{"a", 1.0}, {"BREAK", -1.0}, {"b", 1.0}}));
  EXPECT_EQ(parse_attention("BREAK BREAK"),
            (Fragments{{"", 1.0}, {"BREAK", -1.0}, {"", 1.0}, {"BREAK", -1.0}, {"", 1.0}}));
  EXPECT_EQ(parse_attention("aBREAK BREAKS 狐BREAK break"),
            (Fragments{{"aBREAK BREAKS 狐BREAK break", 1.0}}));
  EXPECT_EQ(parse_attention("，BREAK"), (Fragments{{"，", 1.0}, {"BREAK", -1.0}, {"", 1.0}}));
  const Fragments inside =
      parse_attention("(a BREAK b:2)");  // web UIs: the mark is multiplied away
  EXPECT_EQ(inside, (Fragments{{"a", 2.0}, {"BREAK", -2.0}, {"b", 2.0}}));
  EXPECT_FALSE(inside[1].is_break());
}

TEST(Attention, SurvivesOddInput) {
  EXPECT_EQ(parse_attention(std::string("\0\x07\xff", 3)),
            (Fragments{{std::string("\0\x07\uFFFD", 5), 1.0}}));
  std::string deep(5000, '(');
  EXPECT_EQ(parse_attention(deep + "a" + std::string(5000, ')')).size(), 1u);
  std::string words;
  for (int i = 0; i < 10000; ++i) words += "(word:1." + std::to_string(i % 10) + "), ";
  EXPECT_EQ(parse_attention(words).size(), 18001u);  // each (word:1.0) joins both neighbours
}

TEST(Attention, RefusesWeightsThatAreNoNumbers) {
  EXPECT_THROW(parse_attention(std::string(10000, '(') + "a"), Error);
  EXPECT_THROW(parse_attention("(a:" + std::string(400, '9') + ")"), Error);
}

}  // namespace
}  // namespace velatura::pipelines::prompt
