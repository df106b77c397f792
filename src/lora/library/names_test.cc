#include "lora/library/names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "lora/library/query.h"

namespace velatura::lora::library {

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::shared_ptr<LibraryEntry> entry(const std::string& relative, const std::string& root = "/a") {
  auto made = std::make_shared<LibraryEntry>();
  made->root = root;
  made->relative_path = relative;
  made->path = made->root / relative;
  made->name = made->path.stem().string();
  return made;
}

std::string found(const LibraryEntries& entries, std::string_view name) {
  return entries[NameTable(entries).find(name)]->path.string();
}

std::string error_of(const LibraryEntries& entries, std::string_view name, ErrorKind kind) {
  try {
    found(entries, name);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  ADD_FAILURE() << name << " was found";
  return {};
}

TEST(NameTable, FindsByPathNameAndFileName) {
  const LibraryEntries all = {entry("ink.safetensors"), entry("styles/wash.v2.safetensors"),
                              entry("peft/clay")};
  EXPECT_EQ(found(all, "ink"), "/a/ink.safetensors");
  EXPECT_EQ(found(all, "ink.safetensors"), "/a/ink.safetensors");
  EXPECT_EQ(found(all, "wash.v2"), "/a/styles/wash.v2.safetensors");
  EXPECT_EQ(found(all, "wash.v2.safetensors"), "/a/styles/wash.v2.safetensors");
  EXPECT_EQ(found(all, "styles/wash.v2"), "/a/styles/wash.v2.safetensors");
  EXPECT_EQ(found(all, "styles\\wash.v2.safetensors"), "/a/styles/wash.v2.safetensors");
  EXPECT_EQ(found(all, "/a/styles/wash.v2.safetensors"), "/a/styles/wash.v2.safetensors");
  EXPECT_EQ(found(all, "clay"), "/a/peft/clay");
  EXPECT_EQ(found(all, "INK"), "/a/ink.safetensors");
}

TEST(NameTable, SaysWhichAreMeantWhereSeveralAre) {
  const LibraryEntries all = {entry("old/ink.safetensors"), entry("styles/ink.safetensors")};
  const std::string message = error_of(all, "ink", ErrorKind::invalid_argument);
  EXPECT_THAT(message, HasSubstr("\"old/ink\", \"styles/ink\""));
  EXPECT_EQ(found(all, "styles/ink"), "/a/styles/ink.safetensors");
}

TEST(NameTable, TheFirstRootAndTheUsableFileAreMeant) {
  LibraryEntries all = {entry("ink.safetensors", "/a"), entry("ink.safetensors", "/b")};
  EXPECT_EQ(found(all, "ink"), "/a/ink.safetensors");
  auto broken = entry("x/wash.safetensors");
  broken->problem = "truncated";
  all = {broken, entry("y/wash.safetensors")};
  EXPECT_EQ(found(all, "wash"), "/a/y/wash.safetensors");
}

TEST(NameTable, AliasesServeWhereTheyAreUnique) {
  auto first = entry("a1.safetensors"), second = entry("b2.safetensors"),
       third = entry("c3.safetensors");
  first->output_name = "velink";
  second->title = "twins", third->title = "twins";
  third->output_name = "none";
  const LibraryEntries all = {first, second, third};
  EXPECT_EQ(found(all, "velink"), "/a/a1.safetensors");
  EXPECT_THAT(error_of(all, "twins", ErrorKind::invalid_argument), HasSubstr("\"b2\", \"c3\""));
  error_of(all, "none", ErrorKind::not_found);  // web UIs' word for no adapter
  // A file's name is stronger than another's alias.
  second->output_name = "a1";
  EXPECT_EQ(found(all, "a1"), "/a/a1.safetensors");
}

TEST(NameTable, FindsByHash) {
  auto first = entry("a.safetensors"), second = entry("b.safetensors");
  first->hashes.sha256 = "0123456789abcdef" + std::string(48, '0');
  first->hashes.auto_v3 = "fedcba987654" + std::string(52, '1');
  second->claimed_hashes = {"aabbccddeeff", "e3b0c44298fc1c14"};
  const LibraryEntries all = {first, second};
  EXPECT_EQ(found(all, "0123456789"), "/a/a.safetensors");
  EXPECT_EQ(found(all, "FEDCBA987654"), "/a/a.safetensors");
  EXPECT_EQ(found(all, "aabbccddeeff"), "/a/b.safetensors");
  EXPECT_EQ(found(all, "aabbccddeeff" + std::string(52, '7')), "/a/b.safetensors");
  error_of(all, "0123456", ErrorKind::not_found);
  error_of(all, "e3b0c44298fc1c14", ErrorKind::not_found);
}

TEST(NameTable, UnknownNamesGetTheThreeNearest) {
  const LibraryEntries all = {entry("ink.safetensors"), entry("inky.safetensors"),
                              entry("sink.safetensors"), entry("zebra.safetensors")};
  EXPECT_THAT(error_of(all, "inkk", ErrorKind::not_found),
              HasSubstr("nearest names: ink, inky, sink"));
  EXPECT_THAT(error_of({}, "x", ErrorKind::not_found), HasSubstr("hold none at all"));
  auto titled = entry("v3.safetensors");
  titled->title = "My Cool Style";
  EXPECT_THAT(error_of({titled, all[0]}, "My Col Style", ErrorKind::not_found),
              HasSubstr("nearest names: My Cool Style"));
  EXPECT_EQ(found({titled, all[0]}, "my cool style"), "/a/v3.safetensors");
  error_of(all, "", ErrorKind::invalid_argument);
  error_of(all, std::string(100'000, 'x'), ErrorKind::invalid_argument);
}

std::vector<std::string> names(const LibraryEntries& entries) {
  std::vector<std::string> all;
  for (const auto& one : entries) all.push_back(one->name);
  return all;
}

TEST(Query, FiltersAndSorts) {
  auto ink = entry("ink.safetensors"), wash = entry("wash.safetensors"),
       odd = entry("odd.safetensors");
  ink->family = "sd15", ink->common_rank = 8, ink->algorithms = {"LoRA"}, ink->bytes = 30;
  ink->trigger_words = {{"Ink Drawing", "x"}}, ink->changed = 3;
  wash->family = "sdxl", wash->common_rank = 64, wash->algorithms = {"DoRA LoKr"};
  wash->bytes = 10, wash->frequent_tags = {{"cat", 3}}, wash->title = "Grand Wash";
  wash->changed = 1;
  odd->problem = "truncated", odd->bytes = 20, odd->changed = 2;
  const LibraryEntries all = {ink, odd, wash};
  const auto ask = [&](const LibraryQuery& query) { return names(select(all, query)); };
  EXPECT_THAT(ask({}), ElementsAre("ink", "odd", "wash"));
  EXPECT_THAT(ask({.family = "SD 1.5"}), ElementsAre("ink"));
  EXPECT_THAT(ask({.family = "SDXL"}), ElementsAre("wash"));
  EXPECT_THAT(ask({.algorithm = "lokr"}), ElementsAre("wash"));
  EXPECT_THAT(ask({.algorithm = "dora"}), ElementsAre("wash"));
  EXPECT_THAT(ask({.tag = "ink drawing"}), ElementsAre("ink"));
  EXPECT_THAT(ask({.tag = "CAT"}), ElementsAre("wash"));
  EXPECT_THAT(ask({.text = "wash grand"}), ElementsAre("wash"));
  EXPECT_THAT(ask({.min_rank = 8, .max_rank = 8}), ElementsAre("ink"));
  EXPECT_THAT(ask({.max_rank = 64}), ElementsAre("ink", "wash"));
  EXPECT_THAT(ask({.problems_only = true}), ElementsAre("odd"));
  EXPECT_THAT(ask({.order = LibraryOrder::size}), ElementsAre("wash", "odd", "ink"));
  EXPECT_THAT(ask({.order = LibraryOrder::date, .reverse = true, .limit = 2}),
              ElementsAre("ink", "odd"));
  EXPECT_THAT(ask({.text = "nothing of the kind"}), ElementsAre());
}

}  // namespace

}  // namespace velatura::lora::library
