#include "base/atomic_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <set>

#include "base/error.h"
#include "base/platform/new_file.h"
#include "tests/support/test_folder.h"

namespace velatura {
namespace {

namespace fs = std::filesystem;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string content_of(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

class AtomicFile : public ::testing::Test {
 protected:
  std::set<std::string> names() const {
    std::set<std::string> result;
    for (const auto& entry : fs::directory_iterator(folder_.path()))
      result.insert(entry.path().filename());
    return result;
  }

  testing::TestFolder folder_;
};

using Names = std::set<std::string>;

TEST_F(AtomicFile, WritesAndReplaces) {
  const fs::path target = folder_ / "a.png";
  write_file_atomically(target, bytes_of("one"));
  EXPECT_EQ(content_of(target), "one");
  fs::permissions(target, fs::perms::owner_read | fs::perms::owner_write | fs::perms::others_read);
  const fs::perms before = fs::status(target).permissions();
  write_file_atomically(target, bytes_of("two"));
  EXPECT_EQ(content_of(target), "two");
  EXPECT_EQ(fs::status(target).permissions(), before);
  write_file_atomically(target, {});
  EXPECT_EQ(content_of(target), "");
  EXPECT_EQ(names(), Names{"a.png"});
}

TEST_F(AtomicFile, FollowsLinksAndRespectsTheUmask) {
  write_file_atomically(folder_ / "real", bytes_of("one"));
  fs::create_symlink("real", folder_ / "link");
  write_file_atomically(folder_ / "link", bytes_of("two"));
  EXPECT_TRUE(fs::is_symlink(folder_ / "link"));
  EXPECT_EQ(content_of(folder_ / "real"), "two");
  const mode_t old = ::umask(077);
  write_file_atomically(folder_ / "private", bytes_of("x"));
  ::umask(old);
  EXPECT_EQ(fs::status(folder_ / "private").permissions(),
            fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(AtomicFile, TakesLongNames) {
  const fs::path target = folder_ / std::string(255, 'n');
  write_file_atomically(target, bytes_of("x"));
  EXPECT_EQ(content_of(target), "x");
}

std::string message_of(ErrorKind kind, const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

TEST_F(AtomicFile, NamesPathAndReason) {
  const fs::path missing = folder_ / "no" / "a.png";
  EXPECT_THAT(
      message_of(ErrorKind::not_found, [&] { write_file_atomically(missing, bytes_of("x")); }),
      ::testing::AllOf(::testing::HasSubstr(missing.string()),
                       ::testing::HasSubstr("No such file")));
  EXPECT_THAT(
      message_of(ErrorKind::io, [&] { write_file_atomically(folder_.path(), bytes_of("x")); }),
      ::testing::HasSubstr("folder"));
  message_of(ErrorKind::not_found,
             [&] { write_numbered_file(folder_ / "no", "{number}-1.png", bytes_of("x")); });
  EXPECT_EQ(names(), Names{});
}

TEST_F(AtomicFile, WritesToDevicesWithoutReplacingThem) {
  write_file_atomically("/dev/null", bytes_of("x"));
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "this system has no /dev/full";
  EXPECT_THAT(message_of(ErrorKind::io, [] { write_file_atomically("/dev/full", bytes_of("x")); }),
              ::testing::HasSubstr("No space left"));
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
}

/// Runs in a child process that may write files of 4096 bytes at most, as on a disk that fills up.
int run_with_little_space(const std::function<bool()>& run) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);  // the write then fails with an errno
    const rlimit limit{4096, 4096};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    ::_exit(run() ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

TEST_F(AtomicFile, LeavesNothingWhenTheDiskIsFull) {
  const fs::path target = folder_ / "a.png";
  write_file_atomically(target, bytes_of("old"));
  const std::string large(100'000, 'x');
  const auto fails_with_the_path = [&](const std::function<void()>& write) {
    return run_with_little_space([&] {
      try {
        write();
      } catch (const Error& error) {
        return error.kind() == ErrorKind::io &&
               std::string_view(error.what()).find(folder_.path().string()) !=
                   std::string_view::npos;
      }
      return false;
    });
  };
  EXPECT_EQ(fails_with_the_path([&] { write_file_atomically(target, bytes_of(large)); }), 0);
  EXPECT_EQ(fails_with_the_path(
                [&] { write_numbered_file(folder_.path(), "{number}-1.png", bytes_of(large)); }),
            0);
  EXPECT_EQ(content_of(target), "old");
  EXPECT_EQ(names(), Names{"a.png"});
}

TEST_F(AtomicFile, ExceptionsRemoveTheTemporary) {
  try {
    platform::NewFile file(folder_ / "a.png");
    file.write(bytes_of("half"));
    EXPECT_EQ(names().size(), 1u);
    throw Error(ErrorKind::cancelled, "Ctrl-C");
  } catch (const Error&) {
  }
  EXPECT_EQ(names(), Names{});
}

TEST_F(AtomicFile, TakesTheFirstFreeNumber) {
  for (const char* name :
       {"1-5.png", "3-9.png", "4.png", "x2-1.png", "02-7.png.bak", "99999999999999999999-1.png"}) {
    write_file_atomically(folder_ / name, {});
  }
  // 2 is taken by "02-…", for the number reads the same; "4.png" has no "-" behind it.
  EXPECT_EQ(write_numbered_file(folder_.path(), "{number}-7.png", bytes_of("a")),
            folder_ / "4-7.png");
  EXPECT_EQ(write_numbered_file(folder_.path(), "{number}-8.png", bytes_of("b")),
            folder_ / "5-8.png");
  EXPECT_EQ(write_numbered_file(folder_.path(), "grid{number}", bytes_of("c")), folder_ / "grid1");
  EXPECT_EQ(write_numbered_file(folder_.path(), "grid{number}", bytes_of("d")), folder_ / "grid2");
  EXPECT_EQ(content_of(folder_ / "grid1"), "c");
  EXPECT_EQ(names().size(), 10u);
}

}  // namespace
}  // namespace velatura
