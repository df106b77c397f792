// Every text of clip.jsonl ({"text", "ids" with begin and end marks}) against the embedded
// vocabulary, and every model folder's own merges against it.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/goldens.h"
#include "tokenizers/clip_bpe/clip_bpe.h"

namespace velatura::tokenizers {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<std::int32_t>;

void check_file(const ClipBpe& clip, const fs::path& path) {
  std::ifstream file(path);
  ASSERT_TRUE(file) << path;
  int cases = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.empty()) continue;
    const auto expected = nlohmann::json::parse(line);
    const auto text = expected.at("text").get<std::string>();
    Ids ids = clip.encode(text);
    ids.insert(ids.begin(), clip.bos());
    ids.push_back(clip.eos());
    EXPECT_EQ(ids, expected.at("ids").get<Ids>()) << path << ": " << text;
    ++cases;
  }
  EXPECT_GT(cases, 0) << path;
}

TEST(ClipBpeGolden, EveryTextOfTheReference) {
  const ClipBpe clip = ClipBpe::embedded();
  testing::for_each_golden(
      "tokenizers", [&](const fs::path& folder) { check_file(clip, folder / "clip.jsonl"); });
}

TEST(ClipBpeGolden, EveryTextOfTheDataBesideTheRepository) {
  const char* source = std::getenv("VELATURA_SOURCE_DIR");
  const fs::path path =
      fs::path(source != nullptr ? source : ".") / "../shared/data/tokenizers/golden/clip.jsonl";
  if (!fs::exists(path)) GTEST_SKIP() << path << " is not here";
  check_file(ClipBpe::embedded(), path);
}

TEST(ClipBpeGolden, TheModelsFolderReadsAsTheEmbeddedVocabulary) {
  const ClipBpe clip = ClipBpe::embedded();
  testing::for_each_golden("sd15/model", [&](const fs::path& model) {
    if (!fs::exists(model / "tokenizer")) return;  // the compact copy leaves the vocabulary out
    const ClipBpe own = ClipBpe::from_folder(model / "tokenizer");
    EXPECT_EQ(own.vocabulary_size(), clip.vocabulary_size());
    for (const char* text :
         {"a red fox in the snow", "狐 🦊, CAPITAL Letters", "it's 1girl's (brush-stroke:1.2)"}) {
      EXPECT_EQ(own.encode(text), clip.encode(text)) << text;
    }
  });
}

}  // namespace
}  // namespace velatura::tokenizers
