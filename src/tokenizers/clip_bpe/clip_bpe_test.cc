#include "tokenizers/clip_bpe/clip_bpe.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tokenizers/clip_bpe/byte_alphabet.h"
#include "velatura/error.h"

namespace velatura::tokenizers {
namespace {

using Ids = std::vector<std::int32_t>;

const ClipBpe& clip() {
  static const ClipBpe instance = ClipBpe::embedded();
  return instance;
}

ErrorKind kind_of(const auto& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.kind();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorKind::internal;
}

TEST(ByteAlphabet, IsAPermutationThatReadsBack) {
  std::vector<bool> seen(256);
  for (int i = 0; i < 256; ++i) {
    const unsigned char byte = alphabet_byte(i);
    EXPECT_FALSE(seen[byte]);
    seen[byte] = true;
    EXPECT_EQ(alphabet_to_bytes(alphabet_character(byte)), std::string(1, static_cast<char>(byte)));
  }
  EXPECT_EQ(alphabet_character(' '), "Ġ");
  EXPECT_EQ(alphabet_to_bytes("狐"), std::nullopt);
  EXPECT_EQ(alphabet_to_bytes(" "), std::nullopt);
}

TEST(ClipBpe, HasTheNumberingOfClip) {
  EXPECT_EQ(clip().vocabulary_size(), 49408u);
  EXPECT_EQ(clip().bos(), 49406);
  EXPECT_EQ(clip().eos(), 49407);
  EXPECT_EQ(clip().encode("a photo of a CAT"), (Ids{320, 1125, 539, 320, 2368}));
}

TEST(ClipBpe, DecodesToWords) {
  EXPECT_EQ(clip().decode(clip().encode("A photo, isn't it: Ünïcode 狐")),
            "a photo , isn 't it : ünïcode 狐 ");
  EXPECT_EQ(clip().decode(Ids{-1, 1 << 30}), "");
  EXPECT_EQ(clip().decode(Ids{clip().bos()}), "<|startoftext|>");
}

TEST(ClipBpe, ReadsSpecialTokensAnywhere) {
  EXPECT_EQ(clip().encode("a<|endoftext|>a"), (Ids{320, 49407, 320}));
  EXPECT_EQ(clip().encode("!<|STARTofTEXT|>"), (Ids{256, 49406}));
  EXPECT_EQ(clip().encode("<|<|endoftext|>").back(), 49407);
  EXPECT_EQ(clip().encode("<| a").back(), 320);
}

TEST(ClipBpe, SurvivesOddBytes) {
  EXPECT_TRUE(clip().encode("").empty());
  EXPECT_TRUE(clip().encode(" \t\r\n\u3000\u0085").empty());
  EXPECT_FALSE(clip().encode(std::string("\0\x01\x7f", 3)).empty());
  EXPECT_EQ(clip().encode("\xff"), clip().encode("\uFFFD"));
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  EXPECT_FALSE(clip().encode(all).empty());
}

TEST(ClipBpe, ReadsLongTextsAndLongWords) {
  std::string words, word;
  for (int i = 0; i < 10000; ++i) words += "word ";
  EXPECT_EQ(clip().encode(words), Ids(10000, clip().encode("word")[0]));
  for (int i = 0; i < 100000; ++i) word += "abz"[i % 3];
  EXPECT_EQ(clip().decode(clip().encode(word)), word + " ");
}

TEST(ClipBpe, MergesTheLowestRankFirst) {
  const ClipBpe small("#version: 0.2\nb c\na b\nab c</w>\n", "", "test");
  EXPECT_EQ(small.vocabulary_size(), 512u + 3 + 2);
  // "abc" is a, b, c</w>: only "a b" applies, then "ab c</w>".
  EXPECT_EQ(small.encode("abc"), (Ids{514}));
  // "abcd": "b c" has the lower rank and wins against "a b".
  EXPECT_EQ(small.encode("abcd").size(), 3u);
  EXPECT_EQ(small.encode("abcd")[1], 512);
}

TEST(ClipBpe, TakesNumbersFromAVocabulary) {
  const ClipBpe numbered(
      "a b</w>\n", R"({"<|startoftext|>": 0, "<|endoftext|>": 1, "ab</w>": 7, "a": 5})", "test");
  EXPECT_EQ(numbered.bos(), 0);
  EXPECT_EQ(numbered.eos(), 1);
  EXPECT_EQ(numbered.vocabulary_size(), 8u);
  EXPECT_EQ(numbered.encode("ab zz"),
            (Ids{7, 1, 1}));  // what the vocabulary lacks is the unknown token, its end
}

TEST(ClipBpe, RefusesDamagedFiles) {
  for (const char* merges : {"a\n", "a b c\n", "ab c\n", "a b\na b\n", "\xff \xfe\n"}) {
    EXPECT_EQ(kind_of([&] { ClipBpe(merges, "", "test"); }), ErrorKind::bad_file) << merges;
  }
  for (const char* vocabulary : {"[", "[]", "{}", R"({"<|startoftext|>": -1, "<|endoftext|>": 1})",
                                 R"({"<|startoftext|>": 0, "<|endoftext|>": 1e30})",
                                 R"({"<|startoftext|>": 0, "<|endoftext|>": 99999999999})"}) {
    EXPECT_EQ(kind_of([&] { ClipBpe("a b\n", vocabulary, "test"); }), ErrorKind::bad_file)
        << vocabulary;
  }
  EXPECT_EQ(kind_of([] { ClipBpe::from_folder("/nonexistent/tokenizer"); }), ErrorKind::not_found);
}

TEST(ClipBpe, ReadsAFolder) {
  const auto folder = std::filesystem::path(::testing::TempDir()) / "velatura_clip_bpe_test";
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "merges.txt") << "#version: 0.2\r\na b</w>\r\n";
  EXPECT_EQ(ClipBpe::from_folder(folder).encode("ab"), (Ids{512}));
  std::ofstream(folder / "vocab.json")
      << R"({"<|startoftext|>": 0, "<|endoftext|>": 1, "ab</w>": 2})";
  EXPECT_EQ(ClipBpe::from_folder(folder).encode("ab"), (Ids{2}));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace velatura::tokenizers
