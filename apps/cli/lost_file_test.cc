#include "apps/cli/lost_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "base/mapped_file.h"

namespace velatura::cli {

namespace {

namespace fs = std::filesystem;

/// Two pages of which the second is taken away, and read.
void read_what_is_gone(const fs::path& path) {
  explain_lost_files();
  std::ofstream(path, std::ios::binary) << std::string(1 << 16, 'x');
  const auto file = MappedFile::open(path);
  fs::resize_file(path, 1);
  volatile auto last = file->bytes().back();
  static_cast<void>(last);
}

TEST(LostFile, EndsTheProgramWithTheFilesName) {
  const fs::path path =
      fs::temp_directory_path() / ("velatura_lost_file_test_" + std::to_string(::getpid()));
  EXPECT_EXIT(read_what_is_gone(path), ::testing::ExitedWithCode(8),
              "velatura: \".*velatura_lost_file_test_[0-9]+\" became shorter.* try again");
  fs::remove(path);
}

TEST(LostFile, OtherFaultsAreNotExplained) {
  EXPECT_EXIT(
      {
        explain_lost_files();
        ::raise(SIGBUS);
        ::raise(SIGBUS);
      },
      ::testing::KilledBySignal(SIGBUS), "");
}

}  // namespace

}  // namespace velatura::cli
