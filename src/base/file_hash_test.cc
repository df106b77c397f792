#include "base/file_hash.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <vector>

#include "base/error.h"
#include "base/sha256.h"
#include "tests/support/test_folder.h"

namespace velatura {
namespace {

namespace fs = std::filesystem;

constexpr const char* kOfNothing =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr const char* kOfAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

class Hashes : public ::testing::Test {
 protected:
  fs::path write(const std::string& name, const std::string& content) const {
    std::ofstream(folder_ / name, std::ios::binary) << content;
    return folder_ / name;
  }

  testing::TestFolder folder_;
};

TEST(Sha256Test, KnowsTheStandardsExamples) {
  EXPECT_EQ(sha256_hex({}), kOfNothing);
  EXPECT_EQ(sha256_hex(bytes_of("abc")), kOfAbc);
  Sha256 digest;
  for (int i = 0; i < 1000; ++i) digest.update(bytes_of(std::string(1000, 'a')));
  EXPECT_EQ(digest.finish(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_F(Hashes, TakeTheRightBytes) {
  const std::string header("\x0a\0\0\0\0\0\0\0{\"a\":[1] }", 18);
  const fs::path tensors = write("a.safetensors", header + "abc");
  EXPECT_EQ(hash_file(tensors, HashedPart::whole), sha256_hex(bytes_of(header + "abc")));
  EXPECT_EQ(hash_file(tensors, HashedPart::data), kOfAbc);
  EXPECT_EQ(hash_file(tensors, HashedPart::legacy), kOfNothing);
  // Not safetensors: no brace, or a length beyond the file.
  for (const std::string& other :
       {std::string("abc"), std::string(), std::string("\xff\xff\xff\xff\xff\xff\xff\xff{", 9)}) {
    EXPECT_EQ(hash_file(write("b.pt", other), HashedPart::data), sha256_hex(bytes_of(other)));
  }
  std::string large(0x120000, '\0');
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 7 >> 3);
  EXPECT_EQ(hash_file(write("c.ckpt", large), HashedPart::legacy),
            sha256_hex(bytes_of(large.substr(0x100000, 0x10000))));
  EXPECT_EQ(hash_file(write("d.ckpt", large.substr(0, 0x100010)), HashedPart::legacy),
            sha256_hex(bytes_of(large.substr(0x100000, 0x10))));
  FileHashes hashes("");
  EXPECT_EQ(hashes.auto_v2(tensors), sha256_hex(bytes_of(header + "abc")).substr(0, 10));
  EXPECT_EQ(hashes.auto_v3(tensors), "ba7816bf8f01");
  EXPECT_EQ(hashes.legacy(tensors), "e3b0c442");
}

TEST_F(Hashes, StopAndMissingFiles) {
  StopSource source;
  source.request_stop();
  const fs::path file = write("a", "abc");
  EXPECT_THROW(hash_file(file, HashedPart::whole, source.get_token()), Error);
  EXPECT_THROW(hash_file(folder_ / "none", HashedPart::whole), Error);
  EXPECT_THROW(hash_file(folder_.path(), HashedPart::whole), Error);
}

TEST_F(Hashes, AreRememberedBetweenRunsUntilTheFileChanges) {
  const fs::path memory = folder_ / "cache" / "deep" / "hashes";
  const fs::path file = write("a b\tc.ckpt", "abc");
  EXPECT_EQ(FileHashes(memory).find(file, HashedPart::whole), std::nullopt);
  EXPECT_EQ(FileHashes(memory).get(file, HashedPart::whole), kOfAbc);
  EXPECT_EQ(FileHashes(memory).find(file, HashedPart::whole), kOfAbc);
  EXPECT_EQ(FileHashes(memory).find(file, HashedPart::legacy), std::nullopt);
  EXPECT_EQ(FileHashes(memory).find(folder_ / "." / "a b\tc.ckpt", HashedPart::whole), kOfAbc);
  // The memory is believed: same size and time, other bytes.
  const auto time = fs::last_write_time(file);
  write("a b\tc.ckpt", "xyz");
  fs::last_write_time(file, time);
  EXPECT_EQ(FileHashes(memory).get(file, HashedPart::whole), kOfAbc);
  fs::last_write_time(file, time + std::chrono::seconds(1));
  EXPECT_EQ(FileHashes(memory).get(file, HashedPart::whole), sha256_hex(bytes_of("xyz")));
}

TEST_F(Hashes, IgnoreADamagedMemoryAndOneThatCannotBeWritten) {
  const fs::path file = write("a", "abc");
  for (const char* damage :
       {"", "something else\n", "velatura hashes 1\nw\tx\ty\tz\n\n\t\t\t\t\t\nw\t3",
        "velatura hashes 1\nw\t3\t99999999999999999999999\tba78\t/a\n"}) {
    const fs::path memory = write("memory", damage);
    EXPECT_EQ(FileHashes(memory).get(file, HashedPart::whole), kOfAbc);
    EXPECT_EQ(FileHashes(memory).find(file, HashedPart::whole), kOfAbc);
  }
  EXPECT_EQ(FileHashes(file / "below a file" / "hashes").get(file, HashedPart::whole), kOfAbc);
  EXPECT_EQ(FileHashes(folder_.path()).get(file, HashedPart::whole), kOfAbc);
}

TEST(HashMemory, LiesInTheUsersCache) {
  // Read from the environment at the call; the test restores what it found.
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const std::string saved = cache != nullptr ? cache : "";
  ::setenv("XDG_CACHE_HOME", "/c", 1);
  EXPECT_EQ(FileHashes::default_memory(), "/c/velatura/hashes");
  ::setenv("XDG_CACHE_HOME", "relative", 1);
  if (const char* home = std::getenv("HOME"); home != nullptr && *home == '/') {
    EXPECT_EQ(FileHashes::default_memory(), fs::path(home) / ".cache/velatura/hashes");
  }
  if (cache != nullptr) {
    ::setenv("XDG_CACHE_HOME", saved.c_str(), 1);
  } else {
    ::unsetenv("XDG_CACHE_HOME");
  }
}

}  // namespace
}  // namespace velatura
