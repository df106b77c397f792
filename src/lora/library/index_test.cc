#include "lora/library/index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "lora/library/record.h"
#include "tests/support/adapter_folder.h"

namespace velatura::lora::library {

namespace {

using testing::AdapterFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

LibraryEntry full_entry() {
  LibraryEntry entry;
  entry.problem = "truncated";
  entry.family = "sdxl";
  entry.algorithms = {"LoKr", "LoRA"};
  entry.modules = 7, entry.tensors = 21, entry.parameters = std::uint64_t{1} << 40;
  entry.min_rank = 4, entry.max_rank = 128, entry.common_rank = 16;
  entry.network_alpha = 8.5;
  entry.targets = {"attention_qkv"};
  entry.blocks = {{"double_blocks", {0, 1, 18}}, {"mid_block", {}}};
  entry.title = "Tusche \xe2\x9c\x93";
  entry.trigger_words = {{"ink", "ink.json"}};
  entry.frequent_tags = {{"cat", 12}};
  entry.recommended_weight = 0.7;
  entry.previews = {"ink.png"};
  entry.claimed_hashes = {"abcdef123456"};
  return entry;
}

std::vector<std::string> paths(Index& index) {
  std::vector<std::string> all;
  index.each_record(
      [&](std::string_view path, const Stamp&, std::string_view) { all.emplace_back(path); });
  return all;
}

Index::Record record(std::string path) {
  return {std::move(path), {.bytes = 5, .changed = -7, .sidecars = ~std::uint64_t{0}}, "bytes"};
}

TEST(Record, ComesBackAsItWas) {
  const LibraryEntry entry = full_entry();
  const std::string bytes = encode_record(entry);
  LibraryEntry back;
  ASSERT_TRUE(decode_record(bytes, back));
  EXPECT_EQ(encode_record(back), bytes);
  EXPECT_EQ(back.title, entry.title);
  EXPECT_EQ(back.blocks, entry.blocks);
  EXPECT_EQ(back.recommended_weight, 0.7);
  EXPECT_EQ(back.min_weight, std::nullopt);
}

TEST(Record, DamagedBytesAreRefused) {
  const std::string bytes = encode_record(full_entry());
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    LibraryEntry entry;
    EXPECT_FALSE(decode_record(bytes.substr(0, length), entry)) << length;
  }
  std::mt19937 random(5);
  for (int i = 0; i < 20'000; ++i) {
    std::string wrong = bytes;
    wrong[random() % wrong.size()] = static_cast<char>(random());
    wrong[random() % wrong.size()] = static_cast<char>(random());
    LibraryEntry entry;
    decode_record(wrong, entry);  // whatever it says, nothing is read beyond the end
  }
}

TEST(Index, RemembersBetweenStarts) {
  const AdapterFolder folder;
  const auto path = folder / "deep/index.sqlite";
  const std::string odd("a\0b\xff", 4);
  {
    Index index(path);
    index.put(std::vector{record("/x/a"), record(odd)});
    index.put_hashes(std::vector<Index::Hash>{{"/x/a", HashKind::auto_v3, 5, -7, "ab"}});
    EXPECT_THAT(index.take_notes(), IsEmpty());
  }
  Index index(path);
  EXPECT_THAT(paths(index), ElementsAre("/x/a", odd));
  index.each_record([&](std::string_view, const Stamp& stamp, std::string_view bytes) {
    EXPECT_EQ(stamp, record("").stamp);
    EXPECT_EQ(bytes, "bytes");
  });
  index.remove(std::vector<std::string>{odd, "/nowhere"});
  EXPECT_THAT(paths(index), ElementsAre("/x/a"));
  int hashes = 0;
  index.each_hash([&](const Index::Hash& hash) {
    ++hashes;
    EXPECT_EQ(hash.path, "/x/a");
    EXPECT_EQ(hash.kind, HashKind::auto_v3);
    EXPECT_EQ(hash.changed, -7);
    EXPECT_EQ(hash.hex, "ab");
  });
  EXPECT_EQ(hashes, 1);
}

TEST(Index, DamageIsSaidAndRepaired) {
  const AdapterFolder folder;
  const auto path = folder.text("index.sqlite", std::string(8192, 'x'));
  Index index(path);
  const auto notes = index.take_notes();
  ASSERT_EQ(notes.size(), 1U);
  EXPECT_THAT(notes[0], HasSubstr("damaged"));
  index.put(std::vector{record("/x/a")});
  EXPECT_THAT(paths(index), ElementsAre("/x/a"));
  EXPECT_TRUE(std::filesystem::exists(folder / "index.sqlite.damaged"));
}

TEST(Index, DamageInTheMiddleIsRepairedToo) {
  const AdapterFolder folder;
  const auto path = folder / "index.sqlite";
  {
    Index index(path);
    std::vector<Index::Record> records;
    for (int i = 0; i < 3000; ++i) records.push_back(record("/x/" + std::to_string(i)));
    index.put(records);
  }
  {
    std::fstream stream(path, std::ios::binary | std::ios::in | std::ios::out);
    stream.seekp(4096);
    stream << std::string(3 * 4096, '\xa5');
  }
  Index index(path);
  const std::size_t left = paths(index).size();
  index.put(std::vector{record("/y/new")});
  EXPECT_LE(left, 3000U);
  EXPECT_THAT(paths(index), ::testing::Contains("/y/new"));
}

TEST(Index, AnotherVersionIsBuiltAnew) {
  const AdapterFolder folder;
  const auto path = folder / "index.sqlite";
  { Index(path).put(std::vector{record("/x/a")}); }
  {
    // The header's user version stands at byte 60, big-endian.
    std::fstream stream(path, std::ios::binary | std::ios::in | std::ios::out);
    stream.seekp(60);
    stream.write("\0\0\0\1", 4);
  }
  Index index(path);
  EXPECT_THAT(paths(index), IsEmpty());
  EXPECT_THAT(index.take_notes(), ElementsAre(HasSubstr("another version")));
}

TEST(Index, WithoutAPlaceItLivesInMemory) {
  Index index("/proc/velatura/index.sqlite");
  index.put(std::vector{record("/x/a")});
  EXPECT_THAT(paths(index), ElementsAre("/x/a"));
  EXPECT_THAT(index.take_notes(), ElementsAre(HasSubstr("cannot be used")));
  Index memory({});
  EXPECT_THAT(memory.take_notes(), IsEmpty());
}

TEST(Index, SeveralMayWriteAtOnce) {
  const AdapterFolder folder;
  const auto path = folder / "index.sqlite";
  {
    std::vector<std::jthread> writers;
    for (int writer = 0; writer < 4; ++writer) {
      writers.emplace_back([&path, writer] {
        Index index(path);
        for (int i = 0; i < 20; ++i)
          index.put(std::vector{record("/" + std::to_string(writer) + "/" + std::to_string(i))});
        EXPECT_THAT(index.take_notes(), IsEmpty());
      });
    }
  }
  Index index(path);
  EXPECT_EQ(paths(index).size(), 80U);
}

}  // namespace

}  // namespace velatura::lora::library
