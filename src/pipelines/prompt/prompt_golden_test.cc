// Prompts as web UIs read them, and embedding files, against golden/sd15. What the text encoder
// makes of them is tested with the pipelines.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "pipelines/prompt/attention.h"
#include "pipelines/prompt/chunks.h"
#include "pipelines/prompt/textual_inversion.h"
#include "tests/support/goldens.h"
#include "velatura/error.h"

namespace velatura::pipelines::prompt {
namespace {

namespace fs = std::filesystem;

const tokenizers::ClipBpe& clip() {
  static const auto instance = tokenizers::ClipBpe::embedded();
  return instance;
}

void check_parsed(const nlohmann::json& expected, const std::string& text) {
  const std::vector<Fragment> parsed = parse_attention(text);
  ASSERT_EQ(parsed.size(), expected.size()) << text;
  for (std::size_t i = 0; i < parsed.size(); ++i) {
    EXPECT_EQ(parsed[i].text, expected[i][0].get<std::string>()) << text;
    EXPECT_EQ(parsed[i].weight, expected[i][1].get<double>())
        << text;  // the same products in the same order
  }
}

void check_chunks(const testing::GoldenCase& golden, const std::string& key,
                  const std::string& text) {
  const Tensor ids = golden.get("in.tokens." + key);
  const Tensor weights = golden.get("in.weights." + key);
  const auto length = static_cast<std::size_t>(ids.size(1));
  const TokenizedPrompt prompt = tokenize_prompt(text, clip(), {}, {.context_length = length});
  ASSERT_EQ(static_cast<std::int64_t>(prompt.chunks.size()), ids.size(0)) << text;
  for (std::size_t chunk = 0; chunk < prompt.chunks.size(); ++chunk) {
    for (std::size_t i = 0; i < length; ++i) {
      const std::size_t at = chunk * length + i;
      EXPECT_EQ(prompt.chunks[chunk].ids[i], ids.data<std::int64_t>()[at])
          << text << ", chunk " << chunk << ' ' << i;
      EXPECT_EQ(prompt.chunks[chunk].weights[i], weights.floats()[at])
          << text << ", chunk " << chunk << ' ' << i;
    }
  }
}

TEST(PromptGolden, ParsedFragmentsTokensAndWeights) {
  testing::for_each_golden("sd15", [](const fs::path& folder) {
    if (!fs::exists(folder / "prompts.safetensors")) return;
    const auto golden = testing::GoldenCase::open(folder / "prompts.safetensors");
    const auto& cases = golden.meta.at("cases");
    EXPECT_FALSE(cases.empty());
    for (const auto& [key, value] : cases.items()) {
      const auto text = value.at("prompt").get<std::string>();
      if (value.contains("parsed")) check_parsed(value.at("parsed"), text);
      check_chunks(golden, key, text);
    }
  });
}

TEST(PromptGolden, EmbeddingsInEveryContainer) {
  testing::for_each_golden("sd15", [](const fs::path& folder) {
    if (!fs::exists(folder / "textual_inversion.safetensors")) return;
    const auto golden = testing::GoldenCase::open(folder / "textual_inversion.safetensors");
    const Tensor expected = golden.get("in.vectors");
    for (const auto& file : golden.meta.at("files")) {
      const fs::path path = folder / file.get<std::string>();
      const auto source = weights::open_source(path);
      const auto read = read_embeddings(
          *source,
          {.stem = path.stem().string(), .token = std::nullopt, .width = expected.size(1)});
      ASSERT_EQ(read.size(), 1u) << path;
      ASSERT_EQ(read[0].vectors.shape(), expected.shape()) << path;
      EXPECT_TRUE(std::ranges::equal(read[0].vectors.floats(), expected.floats())) << path;

      const auto prompt =
          tokenize_prompt(golden.meta.at("prompt").get<std::string>(), clip(), read);
      ASSERT_EQ(prompt.chunks.size(), 1u);
      const std::vector<Fix>& fixes = prompt.chunks[0].fixes;
      ASSERT_EQ(static_cast<std::int64_t>(fixes.size()), expected.size(0)) << path;
      for (std::size_t row = 0; row < fixes.size(); ++row) {
        EXPECT_EQ(fixes[row].position, fixes[0].position + row);
        EXPECT_EQ(fixes[row].row, static_cast<std::int64_t>(row));
      }
      EXPECT_THROW(
          read_embeddings(*source,
                          {.stem = "x", .token = std::nullopt, .width = expected.size(1) + 1}),
          Error);
    }
  });
}

TEST(PromptGolden, RealEmbeddingsBesideTheRepository) {
  const char* source_dir = std::getenv("VELATURA_SOURCE_DIR");
  const fs::path folder =
      fs::path(source_dir != nullptr ? source_dir : ".") / "../shared/data/embeddings";
  if (!fs::exists(folder)) GTEST_SKIP() << folder << " is not here";
  constexpr std::int64_t kClipLarge =
      768;  // SD 1.5's text encoder, whose name begins the names of its files
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string stem = entry.path().stem().string();
    const auto source = weights::open_source(entry.path());
    const EmbeddingRequest request{.stem = stem, .token = std::nullopt, .width = kClipLarge};
    if (stem.starts_with("sd15")) {
      const auto read = read_embeddings(*source, request);
      ASSERT_EQ(read.size(), 1u) << entry.path();
      EXPECT_EQ(read[0].vectors.size(1), kClipLarge);
      continue;
    }
    try {
      read_embeddings(*source, request);
      ADD_FAILURE() << entry.path();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::mismatch);
      EXPECT_NE(std::string(error.what()).find(entry.path().filename().string()), std::string::npos)
          << error.what();
    }
  }
}

}  // namespace
}  // namespace velatura::pipelines::prompt
