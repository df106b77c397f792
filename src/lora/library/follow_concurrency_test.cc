// A library that is followed, scanned, hashed and read by several threads while its files come and
// go; two of them on one index, as two programs have it.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/error.h"
#include "lora/library/follow.h"
#include "tests/support/adapter_folder.h"

namespace velatura::lora::library {

namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using testing::AdapterFolder;

/// One thread for a scan: the thread sanitizer does not know OpenMP's.
Shelf::Options options(const AdapterFolder& folder) {
  return {.roots = {folder / "loras", folder / "more"},
          .index = folder / "index.sqlite",
          .threads = 1,
          .on_progress = {}};
}

bool eventually(const std::function<bool()>& holds) {
  for (int i = 0; i < 2000; ++i) {
    if (holds()) return true;
    std::this_thread::sleep_for(milliseconds(10));
  }
  return false;
}

std::string name(int number) {
  return "ink" + std::to_string(number);
}

TEST(ShelfFromManyThreads, FollowedScannedHashedAndReadAtOnce) {
  const AdapterFolder folder;
  constexpr int kFiles = 12;
  for (int i = 0; i < kFiles; ++i) folder.lora("loras/" + name(i) + ".safetensors");
  fs::create_directories(folder / "more");
  Shelf shelf(options(folder)), other(options(folder));
  shelf.refresh();
  other.refresh();
  std::atomic<bool> done = false;
  {
    const Follower follower(shelf, [&](const LibraryScan& scan) {
      EXPECT_GT(scan.read + scan.vanished, 0U);
      EXPECT_LE(shelf.snapshot()->entries.size(), 2U * kFiles);
    });
    const Follower another(other);
    const std::jthread reader([&] {
      while (!done) {
        const auto snapshot = shelf.snapshot();
        for (const auto& entry : snapshot->entries) {
          EXPECT_EQ(snapshot->entries[snapshot->names.find(entry->name)], entry);
          EXPECT_TRUE(entry->family == "sd15" || !entry->problem.empty());
        }
        std::this_thread::yield();
      }
    });
    const std::jthread scanner([&] {
      while (!done) {
        shelf.refresh();
        std::this_thread::sleep_for(milliseconds(5));
      }
    });
    const std::jthread hasher([&] {
      while (!done) {
        const auto hashes = shelf.compute_hashes(shelf.snapshot()->entries, {}, {});
        for (const FileHashValues& of_one : hashes)
          EXPECT_TRUE(of_one.sha256.empty() || of_one.sha256.size() == 64);
      }
    });
    for (int i = 0; i < kFiles; ++i) {
      folder.lora("more/deep/" + name(kFiles + i) + ".safetensors", {}, 4 + i);
      fs::remove(folder / ("loras/" + name(i) + ".safetensors"));
      std::this_thread::sleep_for(milliseconds(20));
    }
    const auto shows_all = [](const Shelf& one) {
      return [&one] { return one.snapshot()->entries.size() == kFiles; };
    };
    EXPECT_TRUE(eventually(shows_all(shelf)));
    EXPECT_TRUE(eventually(shows_all(other)));
    folder.lora("loras/last.safetensors");
    EXPECT_TRUE(eventually([&] { return other.snapshot()->entries.size() == kFiles + 1; }));
    done = true;
  }
}

/// A stop that comes while the thread waits, scans or has not begun yet.
TEST(FollowerFromManyThreads, EndsWheneverItIsTold) {
  const AdapterFolder folder;
  folder.lora("loras/ink.safetensors");
  Shelf shelf(options(folder));
  shelf.refresh();
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) {
    const Follower follower(shelf);
    if (i % 2 == 0) folder.lora("loras/" + name(i) + ".safetensors");
    std::this_thread::sleep_for(milliseconds(i));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

TEST(ShelfFromManyThreads, AScanIsStoppedFromOutside) {
  const AdapterFolder folder;
  constexpr int kFiles = 200;
  for (int i = 0; i < kFiles; ++i) folder.lora("loras/" + name(i) + ".safetensors");
  for (int delay = 0; delay < 5; ++delay) {
    Shelf shelf({.roots = {folder / "loras"}, .index = {}, .threads = 1, .on_progress = {}});
    std::stop_source stop;
    const std::jthread stopper([&] {
      std::this_thread::sleep_for(milliseconds(4 * delay));
      stop.request_stop();
    });
    try {
      shelf.refresh(stop.get_token());
      EXPECT_EQ(shelf.snapshot()->entries.size(), std::size_t{kFiles});
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::cancelled);
      EXPECT_TRUE(shelf.snapshot()->entries.empty());
    }
    EXPECT_EQ(shelf.refresh().files, std::size_t{kFiles}) << "a scan after a stopped one";
  }
}

}  // namespace

}  // namespace velatura::lora::library
