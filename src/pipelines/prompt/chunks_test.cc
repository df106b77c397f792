#include "pipelines/prompt/chunks.h"

#include <gtest/gtest.h>

#include "velatura/error.h"

namespace velatura::pipelines::prompt {
namespace {

using Ids = std::vector<std::int32_t>;

const tokenizers::ClipBpe& clip() {
  static const auto instance = tokenizers::ClipBpe::embedded();
  return instance;
}

Embedding embedding(std::string trigger, std::int64_t vectors) {
  return {.triggers = {std::move(trigger)},
          .vectors = Tensor::zeros({vectors, 4}, DType::f32),
          .origin = "test"};
}

std::string repeated(std::string_view word, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += word;
  return text;
}

void expect_whole(const TokenizedPrompt& prompt, std::size_t length) {
  for (const Chunk& chunk : prompt.chunks) {
    ASSERT_EQ(chunk.ids.size(), length);
    ASSERT_EQ(chunk.weights.size(), length);
    EXPECT_EQ(chunk.ids.front(), clip().bos());
    EXPECT_EQ(chunk.ids.back(), clip().eos());
  }
}

TEST(Chunks, TheEmptyPromptIsOneChunkOfMarks) {
  for (const char* text : {"", "  \n", "()"}) {
    for (const PromptReading reading : {PromptReading::web_ui, PromptReading::raw}) {
      if (reading == PromptReading::raw && *text == '(') continue;
      const TokenizedPrompt prompt = tokenize_prompt(text, clip(), {}, {.reading = reading});
      ASSERT_EQ(prompt.chunks.size(), 1u);
      Ids expected(77, clip().eos());
      expected[0] = clip().bos();
      EXPECT_EQ(prompt.chunks[0].ids, expected);
      EXPECT_FALSE(prompt.is_weighted());
    }
  }
}

TEST(Chunks, WeightsStandAtTheirTokens) {
  const TokenizedPrompt prompt = tokenize_prompt("a (cat:1.5)", clip());
  ASSERT_EQ(prompt.chunks.size(), 1u);
  const Chunk& chunk = prompt.chunks[0];
  EXPECT_EQ(Ids(chunk.ids.begin(), chunk.ids.begin() + 4),
            (Ids{clip().bos(), 320, 2368, clip().eos()}));
  EXPECT_EQ(chunk.weights[1], 1.0f);
  EXPECT_EQ(chunk.weights[2], 1.5f);
  EXPECT_EQ(chunk.weights[3], 1.0f);
  EXPECT_TRUE(prompt.is_weighted());
}

TEST(Chunks, RawTextIsCutAndKeepsItsBrackets) {
  const PromptOptions raw{.reading = PromptReading::raw};
  EXPECT_EQ(tokenize_prompt(repeated("word ", 200), clip(), {}, raw).chunks.size(), 1u);
  EXPECT_FALSE(tokenize_prompt("(a:2) BREAK", clip(), {}, raw).is_weighted());
  EXPECT_EQ(tokenize_prompt("(a:2)", clip(), {}, raw).chunks[0].ids[1], clip().encode("(")[0]);
}

TEST(Chunks, LongPromptsTakeAsManyChunksAsTheyNeed) {
  const TokenizedPrompt prompt = tokenize_prompt(repeated("word ", 10000), clip());
  EXPECT_EQ(prompt.chunks.size(), (10000u + 74) / 75);
  expect_whole(prompt, 77);
  const TokenizedPrompt exact = tokenize_prompt(repeated("word ", 150), clip());
  EXPECT_EQ(exact.chunks.size(), 2u);
}

TEST(Chunks, OtherContextLengths) {
  const PromptOptions options{.context_length = 10};
  const TokenizedPrompt prompt = tokenize_prompt(repeated("word ", 9), clip(), {}, options);
  EXPECT_EQ(prompt.chunks.size(), 2u);
  expect_whole(prompt, 10);
  EXPECT_THROW(tokenize_prompt("a", clip(), {}, {.context_length = 2}), Error);
}

TEST(Chunks, BreaksAfterANearComma) {
  const std::int32_t comma = clip().encode(",")[0];
  const auto words_in_first = [&](int before, int after, std::size_t backtrack) {
    const std::string text = repeated("word ", before) + "," + repeated(" word", after);
    const TokenizedPrompt prompt =
        tokenize_prompt(text, clip(), {}, {.comma_backtrack = backtrack});
    std::size_t filled = 0;
    for (const std::int32_t id : prompt.chunks[0].ids)
      filled += id != clip().eos() && id != clip().bos() ? 1 : 0;
    return filled;
  };
  EXPECT_EQ(words_in_first(60, 30, 20), 61u);  // comma at index 60, 15 from the end
  EXPECT_EQ(words_in_first(55, 30, 20), 56u);  // exactly 20
  EXPECT_EQ(words_in_first(54, 30, 20), 75u);
  EXPECT_EQ(words_in_first(60, 30, 0), 75u);
  EXPECT_EQ(words_in_first(60, 14, 20), 75u);  // fits: nothing to move
  EXPECT_EQ(words_in_first(75, 5, 20), 75u);   // a comma that finds the chunk full opens the next
  const TokenizedPrompt next = tokenize_prompt(repeated("word ", 75) + ", word", clip());
  EXPECT_EQ(next.chunks.at(1).ids[1], comma);
}

TEST(Chunks, BreakEndsAChunk) {
  EXPECT_EQ(tokenize_prompt("a BREAK b", clip()).chunks.size(), 2u);
  EXPECT_EQ(tokenize_prompt("a BREAK", clip()).chunks.size(), 1u);
  EXPECT_EQ(tokenize_prompt("BREAK a", clip()).chunks.size(), 2u);
  EXPECT_EQ(tokenize_prompt("a BREAK BREAK b", clip()).chunks.size(), 3u);
}

TEST(Chunks, EmbeddingsTakeOnePlaceAVector) {
  const std::vector<Embedding> embeddings = {embedding("toy", 3), embedding("<s>", 1)};
  const TokenizedPrompt prompt = tokenize_prompt("a (toy:1.5) <s> hill", clip(), embeddings);
  ASSERT_EQ(prompt.chunks.size(), 1u);
  const Chunk& chunk = prompt.chunks[0];
  EXPECT_EQ(chunk.fixes, (std::vector<Fix>{{2, 0, 0}, {3, 0, 1}, {4, 0, 2}, {5, 1, 0}}));
  for (const Fix& fix : chunk.fixes) EXPECT_EQ(chunk.ids[fix.position], 0);
  EXPECT_EQ(chunk.weights[4], 1.5f);
  EXPECT_EQ(chunk.weights[5], 1.0f);
  EXPECT_EQ(chunk.ids[6], clip().encode("hill")[0]);
  EXPECT_EQ(chunk.ids[7], clip().eos());
}

TEST(Chunks, EmbeddingsStayWhole) {
  const std::vector<Embedding> embeddings = {embedding("toy", 10)};
  const TokenizedPrompt prompt = tokenize_prompt(repeated("word ", 70) + "toy", clip(), embeddings);
  ASSERT_EQ(prompt.chunks.size(), 2u);
  EXPECT_TRUE(prompt.chunks[0].fixes.empty());
  ASSERT_EQ(prompt.chunks[1].fixes.size(), 10u);
  EXPECT_EQ(prompt.chunks[1].fixes[9], (Fix{10, 0, 9}));
  EXPECT_EQ(prompt.chunks[0].ids[71], clip().eos());
}

TEST(Chunks, EmbeddingsMoveWithTheWordsAfterAComma) {
  const std::vector<Embedding> embeddings = {embedding("toy", 3)};
  const TokenizedPrompt prompt =
      tokenize_prompt(repeated("word ", 68) + ", toy" + repeated(" word", 5), clip(), embeddings);
  ASSERT_EQ(prompt.chunks.size(), 2u);
  EXPECT_TRUE(prompt.chunks[0].fixes.empty());
  EXPECT_EQ(prompt.chunks[1].fixes, (std::vector<Fix>{{1, 0, 0}, {2, 0, 1}, {3, 0, 2}}));
}

TEST(Chunks, EmbeddingsThatFitNoChunkAreRefused) {
  const std::vector<Embedding> full = {embedding("toy", 75)};
  EXPECT_EQ(tokenize_prompt("a toy b", clip(), full).chunks.size(), 3u);
  const std::vector<Embedding> over = {embedding("toy", 76)};
  EXPECT_THROW(tokenize_prompt("toy", clip(), over), Error);
  const TokenizedPrompt raw =
      tokenize_prompt("a toy", clip(), over, {.reading = PromptReading::raw});
  EXPECT_EQ(raw.chunks.at(0).fixes.size(), 74u);
}

TEST(Chunks, EmptyChunksEvenPromptAndNegativeOut) {
  TokenizedPrompt prompt = tokenize_prompt("a (b:2)", clip());
  fill_with_empty_chunks(prompt, 3, clip());
  ASSERT_EQ(prompt.chunks.size(), 3u);
  expect_whole(prompt, 77);
  EXPECT_EQ(prompt.chunks[2].ids, tokenize_prompt("", clip()).chunks[0].ids);
  fill_with_empty_chunks(prompt, 1, clip());
  EXPECT_EQ(prompt.chunks.size(), 3u);
}

}  // namespace
}  // namespace velatura::pipelines::prompt
