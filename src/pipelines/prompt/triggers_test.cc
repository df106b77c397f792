#include "pipelines/prompt/triggers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "velatura/error.h"

namespace velatura::pipelines::prompt {
namespace {

const tokenizers::ClipBpe& clip() {
  static const auto instance = tokenizers::ClipBpe::embedded();
  return instance;
}

/// Units as text: words as they decode, embeddings as {index}.
std::string read(const TriggerIndex& index, std::string_view text) {
  std::string result;
  for (const Unit& unit : index.read(text)) {
    if (unit.embedding) {
      result += '{' + std::to_string(*unit.embedding) + '}';
    } else {
      result += clip().decode(std::vector<std::int32_t>{unit.token});
    }
  }
  return result;
}

TEST(TriggerIndex, FindsBareNamesByTokensTheLongestFirst) {
  const TriggerIndex index(
      clip(), std::vector<std::vector<std::string>>{{"toy"}, {"toy car"}, {"bad-hands-5"}});
  EXPECT_EQ(read(index, "a Toy on a toyshop"), "a {0}on a toyshop ");
  EXPECT_EQ(read(index, "toy  CAR, toy cars"), "{1}, {0}cars ");
  EXPECT_EQ(read(index, "bad-hands-5, bad-hands-4"), "{2}, bad - hands - 4 ");
  EXPECT_EQ(read(index, ""), "");
}

TEST(TriggerIndex, FindsBracketedTokensInsideText) {
  const TriggerIndex index(clip(), std::vector<std::vector<std::string>>{{"bin", "<birb-style>"}});
  EXPECT_EQ(read(index, "x<BIRB-style>, (y"), "x {0}, ( y ");
  EXPECT_EQ(read(index, "<birb-styl> <"), "< birb - styl > < ");
}

TEST(TriggerIndex, FindsEmbeddingNames) {
  const TriggerIndex index(
      clip(), std::vector<std::vector<std::string>>{{"foo"}, {"foo-bar", "sub/foo-bar"}, {"<s>"}});
  EXPECT_EQ(read(index, "embedding:foo"), "{0}");
  EXPECT_EQ(read(index, "a Embedding:FOO, b"), "a {0}, b ");
  EXPECT_EQ(read(index, "embedding:foo-bar.safetensors embedding:sub/foo-bar."), "{1}{1}. ");
  EXPECT_EQ(read(index, "embedding:foo.pt embedding:<s>x"), "{0}{2}x ");
  EXPECT_EQ(read(index, "embedding: of words"), "embedding : of words ");
  EXPECT_EQ(read(index, "embeddings, bedding"), "embeddings , bedding ");
}

TEST(TriggerIndex, UnknownNamesAreErrorsWithTheNearest) {
  const TriggerIndex index(clip(), std::vector<std::vector<std::string>>{{"birb-style"}, {"toy"}});
  for (const char* text :
       {"embedding:birb-stile", "(embedding:toys:1.1)", "embedding:toy-2", "embedding:toy.v2"}) {
    try {
      index.read(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::not_found);
      EXPECT_THAT(error.what(), ::testing::HasSubstr("birb-style"));
    }
  }
  EXPECT_THROW(TriggerIndex(clip(), {}).read("embedding:x"), Error);
}

TEST(TriggerIndex, OddTriggersAreHarmless) {
  const TriggerIndex index(clip(),
                           std::vector<std::vector<std::string>>{{"", "  ", "\xff"}, {"a"}, {"a"}});
  EXPECT_EQ(read(index, "a b"), "{1}b ");
  EXPECT_EQ(index.read("\xff").at(0).embedding, 0u);
}

}  // namespace
}  // namespace velatura::pipelines::prompt
