// A second start: what the index remembers makes the same library as the files themselves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lora/library/record.h"
#include "lora/library/shelf.h"
#include "tests/support/adapter_folder.h"

namespace velatura::lora::library {

namespace {

namespace fs = std::filesystem;
using testing::AdapterFolder;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

Shelf::Options options(const AdapterFolder& folder) {
  return {.roots = {folder / "loras", folder / "more"},
          .index = folder / "index.sqlite",
          .threads = 2,
          .on_progress = {}};
}

/// All that a list shows of an entry.
std::string text_of(const LibraryEntry& entry) {
  return entry.root.native() + '\n' + entry.path.native() + '\n' + entry.relative_path + '\n' +
         entry.name + '\n' + std::to_string(entry.bytes) + '\n' + std::to_string(entry.changed) +
         '\n' + encode_record(entry);
}

std::vector<std::string> texts(const Shelf& shelf) {
  std::vector<std::string> all;
  for (const auto& entry : shelf.snapshot()->entries) all.push_back(text_of(*entry));
  return all;
}

/// More files than are decoded by one thread, in folders whose paths sort otherwise than their
/// names.
void fill(const AdapterFolder& folder) {
  for (int i = 0; i < 40; ++i) {
    const std::string number = std::to_string(i);
    folder.lora("loras/a/b/ink" + number + ".safetensors", {}, 1 + i % 5);
    folder.lora("loras/a-b/wash" + number + ".safetensors", {{"ss_output_name", "w" + number}});
    folder.lora("more/ink" + number + ".safetensors");
  }
  folder.text("loras/a/b/ink3.json", R"({"activation text": "brush"})");
  folder.text("loras/a/b/ink4.preview.png", "no picture");
  folder.text("more/broken.safetensors", "broken");
}

TEST(ShelfStart, TheIndexGivesWhatTheFilesDo) {
  const AdapterFolder folder;
  fill(folder);
  Shelf fresh(options(folder));
  EXPECT_EQ(fresh.refresh().read, 121U);
  Shelf second(options(folder));
  EXPECT_EQ(second.refresh().read, 0U);
  EXPECT_EQ(texts(second), texts(fresh));
  const auto snapshot = second.snapshot();
  const LibraryEntry& noted = *snapshot->entries[snapshot->names.find("a/b/ink3")];
  EXPECT_THAT(noted.trigger_words, ElementsAre(SourcedText{"brush", "ink3.json"}));
  const LibraryEntry& pictured = *snapshot->entries[snapshot->names.find("a/b/ink4")];
  EXPECT_THAT(pictured.previews, ElementsAre("ink4.preview.png"));
}

TEST(ShelfStart, OnlyWhatChangedMeanwhileIsRead) {
  const AdapterFolder folder;
  fill(folder);
  Shelf(options(folder)).refresh();
  folder.lora("loras/a/b/ink7.safetensors", {}, 64);  // rewritten
  folder.text("loras/a-b/wash9.txt", "a wash");       // a note of an old file
  fs::remove(folder / "loras/a/b/ink3.json");         // a note that is gone
  fs::remove(folder / "more/ink1.safetensors");       // a file that is gone
  folder.lora("loras/new.safetensors");
  Shelf second(options(folder));
  const LibraryScan scan = second.refresh();
  EXPECT_EQ(scan.files, 121U);
  EXPECT_EQ(scan.read, 4U);
  const auto snapshot = second.snapshot();
  EXPECT_EQ(snapshot->entries[snapshot->names.find("a/b/ink7")]->common_rank, 64);
  EXPECT_EQ(snapshot->entries[snapshot->names.find("wash9")]->description, "a wash");
  EXPECT_THAT(snapshot->entries[snapshot->names.find("a/b/ink3")]->trigger_words, IsEmpty());
  Shelf third(options(folder));
  EXPECT_EQ(third.refresh().read, 0U);
  EXPECT_EQ(texts(third), texts(second));
}

TEST(ShelfStart, RootsInAnotherOrderMoveEntries) {
  const AdapterFolder folder;
  fill(folder);
  Shelf::Options turned = options(folder);
  Shelf(turned).refresh();
  std::swap(turned.roots[0], turned.roots[1]);
  Shelf second(turned);
  EXPECT_EQ(second.refresh().read, 0U);
  EXPECT_EQ(second.snapshot()->entries.front()->root, folder / "more");
  EXPECT_EQ(second.snapshot()->entries.back()->root, folder / "loras");
}

}  // namespace

}  // namespace velatura::lora::library
