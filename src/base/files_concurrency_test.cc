// Many threads, one folder, one memory of hashes: nothing is lost and nothing overwritten.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <set>
#include <thread>
#include <vector>

#include "base/atomic_file.h"
#include "base/file_hash.h"
#include "base/sha256.h"
#include "tests/support/test_folder.h"

namespace velatura {
namespace {

namespace fs = std::filesystem;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

class FilesFromManyThreads : public ::testing::Test {
 protected:
  testing::TestFolder folder_;
};

TEST_F(FilesFromManyThreads, HashesLoseNothingOfTheirOwn) {
  const fs::path memory = folder_ / "hashes";
  FileHashes shared(memory);
  std::vector<fs::path> files;
  for (int i = 0; i < 16; ++i) {
    files.push_back(folder_ / ("f" + std::to_string(i)));
    std::ofstream(files.back(), std::ios::binary) << i;
  }
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      FileHashes own(memory);
      for (std::size_t i = 0; i < files.size(); ++i) {
        FileHashes& hashes = t % 2 == 0 ? shared : own;
        EXPECT_EQ(hashes.get(files[i], HashedPart::whole), sha256_hex(bytes_of(std::to_string(i))));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const fs::path& file : files) EXPECT_NE(shared.find(file, HashedPart::whole), std::nullopt);
}

TEST_F(FilesFromManyThreads, NumberedFilesNeverOverwriteInARace) {
  constexpr int kWriters = 8, kFiles = 20;
  std::vector<std::thread> writers;
  for (int i = 0; i < kWriters; ++i) {
    writers.emplace_back([&, i] {
      for (int j = 0; j < kFiles; ++j) {
        write_numbered_file(folder_.path(), "{number}-1.png",
                            bytes_of(std::to_string(i * kFiles + j)));
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  std::set<std::string> contents;
  for (const auto& entry : fs::directory_iterator(folder_.path())) {
    std::ifstream stream(entry.path(), std::ios::binary);
    contents.emplace(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
  }
  EXPECT_EQ(contents.size(), static_cast<std::size_t>(kWriters * kFiles))
      << "every picture is there";
}

}  // namespace
}  // namespace velatura
