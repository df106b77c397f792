#include "pipelines/prompt/embedding_shelf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "velatura/error.h"

namespace velatura::pipelines::prompt {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const tokenizers::ClipBpe& clip() {
  static const auto instance = tokenizers::ClipBpe::embedded();
  return instance;
}

/// A safetensors file with one f32 tensor of zeros.
void write_embedding(const fs::path& path, std::string name, int vectors, int width) {
  fs::create_directories(path.parent_path());
  const std::size_t bytes = static_cast<std::size_t>(vectors * width) * sizeof(float);
  const std::string header = "{\"" + name + "\":{\"dtype\":\"F32\",\"shape\":[" +
                             std::to_string(vectors) + "," + std::to_string(width) +
                             "],\"data_offsets\":[0," + std::to_string(bytes) + "]}}";
  std::ofstream file(path, std::ios::binary);
  for (int i = 0; i < 8; ++i) file.put(static_cast<char>((header.size() >> (8 * i)) & 0xff));
  file << header << std::string(bytes, '\0');
}

class EmbeddingShelfTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    root_ = fs::path(::testing::TempDir()) / ("velatura_shelf_" + std::string(test->name()));
    fs::remove_all(root_);
    write_embedding(root_ / "a/toy.safetensors", "emb_params", 3, 8);
    write_embedding(root_ / "a/styles/Ink.SAFETENSORS", "<ink-style>", 1, 8);
    write_embedding(root_ / "a/wide.pt", "emb_params", 1, 1024);
    write_embedding(root_ / "b/toy.safetensors", "emb_params", 1, 8);
    std::ofstream(root_ / "a/readme.txt") << "not an embedding";
    const std::vector<fs::path> folders = {root_ / "a", root_ / "none", root_ / "b"};
    shelf_ = EmbeddingShelf(folders);
  }
  void TearDown() override { fs::remove_all(root_); }

  std::vector<Embedding> load(std::vector<std::string> arguments,
                              std::vector<std::string> prompts) const {
    std::vector<EmbeddingArgument> read;
    for (const std::string& argument : arguments)
      read.push_back(read_embedding_argument(argument, shelf_));
    return load_embeddings(shelf_, read, prompts, PromptReading::web_ui, clip(), 8);
  }

  fs::path root_;
  EmbeddingShelf shelf_;
};

TEST_F(EmbeddingShelfTest, ListsFilesInOrder) {
  std::vector<std::string> names;
  for (const auto& file : shelf_.files()) names.push_back(file.name);
  EXPECT_THAT(names, ElementsAre("styles/Ink", "toy", "wide", "toy"));
}

TEST_F(EmbeddingShelfTest, ResolvesNames) {
  EXPECT_EQ(shelf_.resolve("toy"), root_ / "a/toy.safetensors");
  EXPECT_EQ(shelf_.resolve("TOY.safetensors"), root_ / "a/toy.safetensors");
  EXPECT_EQ(shelf_.resolve("ink"), root_ / "a/styles/Ink.SAFETENSORS");
  EXPECT_EQ(shelf_.resolve("styles/ink"), root_ / "a/styles/Ink.SAFETENSORS");
  EXPECT_EQ(shelf_.resolve((root_ / "b/toy.safetensors").string()), root_ / "b/toy.safetensors");
  for (const char* name : {"tyo", "toy.pt", "other/toy", "", "readme"}) {
    try {
      shelf_.resolve(name);
      ADD_FAILURE() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::not_found);
      EXPECT_THAT(error.what(), HasSubstr("nearest"));
    }
  }
  EXPECT_THROW(EmbeddingShelf().resolve("toy"), Error);
}

TEST_F(EmbeddingShelfTest, ReadsArguments) {
  EXPECT_EQ(read_embedding_argument("toy", shelf_).token, std::nullopt);
  const EmbeddingArgument given = read_embedding_argument("toy=sks word", shelf_);
  EXPECT_EQ(given.path, root_ / "a/toy.safetensors");
  EXPECT_EQ(given.token, "sks word");
  EXPECT_THROW(read_embedding_argument("toy=", shelf_), Error);
  const fs::path odd = root_ / "a=b.safetensors";
  write_embedding(odd, "emb_params", 1, 8);
  EXPECT_EQ(read_embedding_argument(odd.string(), shelf_).path, odd);
  EXPECT_EQ(read_embedding_argument(odd.string() + "=x", shelf_).token, "x");
}

TEST_F(EmbeddingShelfTest, LoadsWhatPromptsMention) {
  EXPECT_TRUE(load({}, {"a toyshop", ""}).empty());
  const auto bare = load({}, {"a (Toy:1.2)", "toy"});
  ASSERT_EQ(bare.size(), 1u);
  EXPECT_EQ(bare[0].vectors.size(0), 3);
  const auto named = load({}, {"x", "embedding:styles/ink"});
  ASSERT_EQ(named.size(), 1u);
  EXPECT_THAT(named[0].triggers, ElementsAre("Ink", "<ink-style>", "styles/Ink"));
  EXPECT_EQ(
      tokenize_prompt("embedding:styles/ink <ink-style>", clip(), named).chunks[0].fixes.size(),
      2u);
  EXPECT_THROW(load({}, {"embedding:nothing"}), Error);
}

TEST_F(EmbeddingShelfTest, ArgumentsComeFirstAndNeedNoMention) {
  const auto given = load({(root_ / "b/toy.safetensors").string()}, {"a toy"});
  ASSERT_EQ(given.size(), 1u);
  EXPECT_EQ(given[0].vectors.size(0), 1);
  const auto renamed = load({"toy=sks"}, {"sks toy"});
  ASSERT_EQ(renamed.size(), 2u);
  EXPECT_THAT(renamed[0].triggers, ElementsAre("sks"));
  EXPECT_THAT(renamed[1].triggers, ElementsAre("toy"));
}

TEST_F(EmbeddingShelfTest, AMentionedFileOfAnotherWidthIsRefused) {
  try {
    load({}, {"a wide road"});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::mismatch);
    EXPECT_THAT(error.what(), HasSubstr("wide.pt"));
  }
  EXPECT_NO_THROW(load({}, {"a narrow road"}));
}

}  // namespace
}  // namespace velatura::pipelines::prompt
