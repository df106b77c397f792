#include "lora/library/shelf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>

#include "base/error.h"
#include "base/sha256.h"
#include "lora/library/follow.h"
#include "tests/support/adapter_folder.h"

namespace velatura::lora::library {

namespace {

namespace fs = std::filesystem;
using testing::AdapterFolder;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> listed(const Shelf& shelf) {
  std::vector<std::string> paths;
  for (const auto& entry : shelf.snapshot()->entries) paths.push_back(entry->relative_path);
  return paths;
}

const LibraryEntry& entry_of(const Snapshot& snapshot, std::string_view name) {
  return *snapshot.entries[snapshot.names.find(name)];
}

Shelf::Options options(const AdapterFolder& folder, const char* roots = "loras") {
  return {.roots = {folder / roots}, .index = folder / "index.sqlite", .threads = 2};
}

TEST(Shelf, ListsByFolderThenName) {
  const AdapterFolder folder;
  folder.lora("loras/zebra.SafeTensors");
  folder.lora("loras/styles/ink.safetensors");
  folder.lora("loras/styles/deep/wash.safetensors");
  folder.lora("loras/art.safetensors");
  folder.lora("loras/.hidden.safetensors");
  folder.lora("loras/.cache/part.safetensors");
  folder.text("loras/readme.md", "x");
  Shelf shelf(options(folder));
  const LibraryScan scan = shelf.refresh();
  EXPECT_THAT(listed(shelf), ElementsAre("art.safetensors", "zebra.SafeTensors",
                                         "styles/ink.safetensors", "styles/deep/wash.safetensors"));
  EXPECT_EQ(scan.files, 4U);
  EXPECT_EQ(scan.read, 4U);
  EXPECT_EQ(scan.folders, 3U);
}

TEST(Shelf, ReadsWhatTheHeaderSays) {
  const AdapterFolder folder;
  folder.lora("loras/ink.safetensors", {{"ss_output_name", "velink"}, {"ss_network_alpha", "4.0"}},
              16);
  folder.lora("loras/big.safetensors", {}, 4, 2048);
  Shelf shelf(options(folder));
  shelf.refresh();
  const auto snapshot = shelf.snapshot();
  const LibraryEntry& ink = entry_of(*snapshot, "velink");
  EXPECT_EQ(ink.name, "ink");
  EXPECT_EQ(ink.problem, "");
  EXPECT_EQ(ink.family, "sd15");
  EXPECT_THAT(ink.algorithms, ElementsAre("LoRA"));
  EXPECT_EQ(ink.modules, 2);
  EXPECT_EQ(ink.tensors, 6);
  EXPECT_EQ(ink.common_rank, 16);
  EXPECT_EQ(ink.network_alpha, 4.0);
  EXPECT_EQ(ink.parameters, 2U * (1 + 16 * 768 + 320 * 16));
  EXPECT_THAT(ink.targets, ElementsAre("attention_qkv"));
  EXPECT_THAT(ink.blocks, ElementsAre(BlockNumbers{"down_blocks", {0}}));
  EXPECT_THAT(ink.types, ElementsAre("f16"));
  EXPECT_EQ(entry_of(*snapshot, "big").family, "sdxl");
}

TEST(Shelf, UnchangedFilesComeFromTheIndex) {
  const AdapterFolder folder;
  folder.lora("loras/a.safetensors");
  folder.lora("loras/b.safetensors");
  { Shelf(options(folder)).refresh(); }
  folder.lora("loras/b.safetensors", {{"name", "new"}}, 32);
  folder.text("loras/a.json", R"({"activation text": "word"})");
  folder.lora("loras/c.safetensors");
  Shelf shelf(options(folder));
  EXPECT_EQ(shelf.refresh().read, 3U);  // its notes changed, it changed, it is new
  EXPECT_EQ(entry_of(*shelf.snapshot(), "b").common_rank, 32);
  EXPECT_EQ(entry_of(*shelf.snapshot(), "a").trigger_words.at(0).text, "word");
  EXPECT_EQ(shelf.refresh().read, 0U);
  fs::remove(folder / "loras/c.safetensors");
  const LibraryScan scan = shelf.refresh();
  EXPECT_EQ(scan.vanished, 1U);
  EXPECT_THAT(listed(shelf), ElementsAre("a.safetensors", "b.safetensors"));
  Shelf again(options(folder));
  EXPECT_EQ(again.refresh().read, 0U);
  EXPECT_EQ(entry_of(*again.snapshot(), "a").family, "sd15");
}

TEST(Shelf, WhatCannotBeReadIsListedWithItsReason) {
  const AdapterFolder folder;
  folder.text("loras/pointer.safetensors", "version https://git-lfs.github.com/spec/v1\noid x\n");
  folder.text("loras/page.safetensors", "<!DOCTYPE html>");
  folder.text("loras/empty.safetensors", "");
  folder.text("loras/two.safetensors", "{}");
  folder.text("loras/pickle.pt", "\x80\x02}q\x01.");
  folder.text("loras/claims.safetensors", std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{", 9));
  folder.text("loras/json.safetensors", std::string("\x03\0\0\0\0\0\0\0{x}", 11));
  fs::resize_file(folder.lora("loras/cut.safetensors"), 2000);
  folder.tensors("loras/model.safetensors",
                 {{"model.diffusion_model.input_blocks.0.0.weight", Shape{4}, DType::f16}});
  folder.tensors("loras/none.safetensors", {});
  fs::create_symlink("nowhere", folder / "loras/dangling.safetensors");
  fs::create_directories(folder / "loras/folder.safetensors");
  folder.lora("loras/folder.safetensors/inside.safetensors");
  Shelf shelf(options(folder));
  shelf.refresh();
  const auto snapshot = shelf.snapshot();
  EXPECT_THAT(entry_of(*snapshot, "pointer").problem, HasSubstr("Git LFS pointer"));
  EXPECT_THAT(entry_of(*snapshot, "page").problem, HasSubstr("web page"));
  EXPECT_THAT(entry_of(*snapshot, "empty").problem, HasSubstr("empty"));
  EXPECT_THAT(entry_of(*snapshot, "cut").problem, HasSubstr("truncated"));
  EXPECT_THAT(entry_of(*snapshot, "dangling").problem, HasSubstr("leads nowhere"));
  for (const char* name : {"two", "pickle", "claims", "json", "model", "none"})
    EXPECT_NE(entry_of(*snapshot, name).problem, "") << name;
  EXPECT_EQ(entry_of(*snapshot, "inside").problem, "");
  EXPECT_EQ(snapshot->entries.size(), 12U);
  Shelf again(options(folder));
  EXPECT_EQ(again.refresh().read, 0U);  // the reasons are remembered too
}

TEST(Shelf, NothingWaitsForPipesAndDevices) {
  const AdapterFolder folder;
  folder.lora("loras/ink.safetensors");
  for (const char* name : {"pipe.safetensors", "pipe.pt", "ink.json", "ink.png", "ink.txt"})
    folder.pipe(std::string("loras/") + name);
  fs::create_symlink("/dev/zero", folder / "loras/device.safetensors");
  Shelf shelf(options(folder));
  shelf.refresh();
  const auto snapshot = shelf.snapshot();
  EXPECT_EQ(snapshot->entries.size(), 4U);
  for (const auto& entry : snapshot->entries)
    EXPECT_EQ(entry->problem, entry->name == "ink" ? "" : "this is no regular file") << entry->path;
  EXPECT_FALSE(read_preview(entry_of(*snapshot, "ink")));
  EXPECT_EQ(shelf.compute_hashes(snapshot->entries, {}, {}).size(), 4U);
}

TEST(Shelf, LoopsOfLinksEnd) {
  const AdapterFolder folder, outside;
  folder.lora("loras/a/ink.safetensors");
  outside.lora("shared/wash.safetensors");
  fs::create_directory_symlink("..", folder / "loras/a/up");
  fs::create_directory_symlink(folder / "loras/a", folder / "loras/again");
  fs::create_directory_symlink(outside / "shared", folder / "loras/elsewhere");
  fs::create_symlink(outside / "shared/wash.safetensors", folder / "loras/linked.safetensors");
  fs::create_directory_symlink("self", folder / "loras/self");
  Shelf shelf(options(folder));
  const LibraryScan scan = shelf.refresh();
  EXPECT_THAT(listed(shelf),
              ElementsAre("linked.safetensors", "a/ink.safetensors", "elsewhere/wash.safetensors"));
  EXPECT_TRUE(shelf.contains(folder / "loras/a/ink.safetensors"));
  EXPECT_TRUE(shelf.contains(folder / "loras/again/../again/ink.safetensors"));
  EXPECT_FALSE(shelf.contains(folder / "loras/linked.safetensors"));
  EXPECT_FALSE(shelf.contains(folder / "loras/../index.sqlite"));
  EXPECT_FALSE(shelf.contains(folder / "loras/nowhere"));
  EXPECT_FALSE(shelf.contains("/etc/passwd"));
}

TEST(Shelf, AFolderOfPeftIsOneEntry) {
  const AdapterFolder folder;
  folder.lora("loras/styles/clay.v2/adapter_model.safetensors", {}, 4);
  folder.text("loras/styles/clay.v2/adapter_config.json",
              R"({"r": 4, "lora_alpha": 8, "base_model_name_or_path": "some/base"})");
  folder.text("loras/styles/clay.v2.json", R"({"activation text": "clay"})");
  folder.lora("loras/styles/clay.v2/extra.safetensors");
  Shelf shelf(options(folder));
  shelf.refresh();
  EXPECT_THAT(listed(shelf), ElementsAre("styles/clay.v2", "styles/clay.v2/extra.safetensors"));
  const auto snapshot = shelf.snapshot();
  const LibraryEntry& clay = entry_of(*snapshot, "clay.v2");
  EXPECT_EQ(clay.path, folder / "loras/styles/clay.v2");
  EXPECT_EQ(clay.problem, "");
  EXPECT_EQ(clay.network_alpha, 8.0);
  EXPECT_EQ(clay.base_model, "some/base");
  EXPECT_THAT(clay.trigger_words, ElementsAre(SourcedText{"clay", "clay.v2.json"}));
  const auto details = read_details(clay);
  EXPECT_THAT(details.metadata, IsEmpty());
}

TEST(Shelf, NamesOfAnyBytesAreListed) {
  const AdapterFolder folder;
  const std::string odd = "loras/\xff\xfe\n\x1b[31m.safetensors";
  folder.lora(odd);
  Shelf shelf(options(folder));
  shelf.refresh();
  ASSERT_EQ(shelf.snapshot()->entries.size(), 1U);
  EXPECT_EQ(shelf.snapshot()->entries[0]->path, folder / odd);
}

TEST(Shelf, SeveralRootsKeepTheirOrder) {
  const AdapterFolder folder;
  folder.lora("one/ink.safetensors", {}, 4);
  folder.lora("two/ink.safetensors", {}, 8);
  folder.lora("two/art.safetensors");
  Shelf shelf(
      {.roots = {folder / "two/", folder / "one", folder / "none", folder / "two"}, .index = {}});
  const LibraryScan scan = shelf.refresh();
  EXPECT_THAT(listed(shelf), ElementsAre("art.safetensors", "ink.safetensors", "ink.safetensors"));
  EXPECT_EQ(entry_of(*shelf.snapshot(), "ink").common_rank, 8);
  EXPECT_THAT(scan.notes, Contains(HasSubstr("none")));
  // The index keeps what other roots have, and lets go what these have lost.
  Shelf one({.roots = {folder / "one"}, .index = folder / "index.sqlite"});
  one.refresh();
  Shelf two({.roots = {folder / "two"}, .index = folder / "index.sqlite"});
  two.refresh();
  Shelf both({.roots = {folder / "one", folder / "two"}, .index = folder / "index.sqlite"});
  EXPECT_EQ(both.refresh().read, 0U);
}

TEST(Shelf, HashesAreComputedOnceAndRemembered) {
  const AdapterFolder folder;
  const auto path = folder.lora("loras/ink.safetensors", {}, 512);
  std::ifstream stream(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(stream), {}};
  ASSERT_GT(bytes.size(), 0x110000U);
  const auto digest = [&](std::size_t begin, std::size_t length) {
    return sha256_hex(std::as_bytes(std::span(bytes).subspan(begin, length)));
  };
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof header);
  {
    Shelf shelf(options(folder));
    shelf.refresh();
    EXPECT_EQ(shelf.snapshot()->entries[0]->hashes, FileHashValues());
    int done = 0;
    const auto hashes =
        shelf.compute_hashes(shelf.snapshot()->entries, {}, [&](const LibraryEntry&) { ++done; });
    EXPECT_EQ(done, 1);
    EXPECT_EQ(hashes[0].sha256, digest(0, bytes.size()));
    EXPECT_EQ(hashes[0].auto_v2, digest(0, bytes.size()).substr(0, 10));
    EXPECT_EQ(hashes[0].auto_v1, digest(0x100000, 0x10000).substr(0, 8));
    EXPECT_EQ(hashes[0].auto_v3, digest(8 + header, bytes.size() - 8 - header));
    EXPECT_EQ(shelf.snapshot()->entries[0]->hashes, hashes[0]);
    EXPECT_EQ(entry_of(*shelf.snapshot(), hashes[0].auto_v2).name, "ink");
  }
  Shelf again(options(folder));
  again.refresh();
  EXPECT_EQ(again.snapshot()->entries[0]->hashes.sha256, digest(0, bytes.size()));
  folder.lora("loras/ink.safetensors", {{"name", "x"}}, 512);
  again.refresh();
  EXPECT_EQ(again.snapshot()->entries[0]->hashes, FileHashValues());
}

TEST(Shelf, ASmallFileHasNoLegacyHash) {
  const AdapterFolder folder;
  folder.lora("loras/ink.safetensors");
  Shelf shelf(options(folder));
  shelf.refresh();
  const auto hashes = shelf.compute_hashes(shelf.snapshot()->entries, {}, {});
  EXPECT_EQ(hashes[0].auto_v1, "");
  EXPECT_EQ(hashes[0].sha256.size(), 64U);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THROW(shelf.compute_hashes(shelf.snapshot()->entries, stop.get_token(), {}), Error);
  EXPECT_THROW(shelf.refresh(stop.get_token()), Error);
}

TEST(Shelf, PreviewsAndDetailsAreReadOnDemand) {
  const AdapterFolder folder;
  const std::string png("\x89PNG\r\n\x1a\n", 8);
  folder.lora("loras/a.safetensors", {{"modelspec.thumbnail", "data:image/png;base64,iVBORw0KGgo="},
                                      {"modelspec.description", std::string(5000, 'y')},
                                      {"extra", "kept"}});
  folder.text("loras/a.png", "no picture");
  Shelf shelf(options(folder));
  shelf.refresh();
  const LibraryEntry& a = *shelf.snapshot()->entries[0];
  const auto preview = read_preview(a);
  ASSERT_TRUE(preview);
  EXPECT_EQ(preview->media_type, "image/png");
  EXPECT_EQ(preview->bytes.size(), 8U);
  EXPECT_LE(a.description.size(), 1003U);
  const LibraryDetails details = read_details(a);
  EXPECT_EQ(details.description.size(), 5000U);
  EXPECT_THAT(details.metadata, Contains(std::pair<std::string, std::string>("extra", "kept")));
  fs::remove(folder / "loras/a.safetensors");
  EXPECT_THROW(read_details(a), Error);
}

/// Waits for a state of the shelf, five seconds at most.
bool eventually(const std::function<bool()>& holds) {
  for (int i = 0; i < 500; ++i) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

TEST(Follower, SeesNewChangedAndVanishedFiles) {
  const AdapterFolder folder;
  folder.lora("loras/a.safetensors");
  Shelf shelf(options(folder));
  shelf.refresh();
  const Follower follower(shelf);
  const auto shows = [&](std::vector<std::string> wanted) {
    return eventually([&] { return listed(shelf) == wanted; });
  };
  folder.lora("loras/b.safetensors");
  EXPECT_TRUE(shows({"a.safetensors", "b.safetensors"}));
  folder.lora("loras/new/deep/c.safetensors");
  EXPECT_TRUE(shows({"a.safetensors", "b.safetensors", "new/deep/c.safetensors"}));
  folder.lora("loras/new/deep/d.safetensors");
  EXPECT_TRUE(shows(
      {"a.safetensors", "b.safetensors", "new/deep/c.safetensors", "new/deep/d.safetensors"}));
  fs::rename(folder / "loras/new", folder / "loras/old");
  EXPECT_TRUE(shows(
      {"a.safetensors", "b.safetensors", "old/deep/c.safetensors", "old/deep/d.safetensors"}));
  fs::remove_all(folder / "loras/old");
  fs::remove(folder / "loras/a.safetensors");
  EXPECT_TRUE(shows({"b.safetensors"}));
  folder.lora("loras/b.safetensors", {}, 64);
  EXPECT_TRUE(eventually([&] { return shelf.snapshot()->entries[0]->common_rank == 64; }));
  fs::remove_all(folder / "loras");
  EXPECT_TRUE(shows({}));
  folder.lora("loras/back.safetensors");
  EXPECT_TRUE(shows({"back.safetensors"}));
}

}  // namespace

}  // namespace velatura::lora::library
