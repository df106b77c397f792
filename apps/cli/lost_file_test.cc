#include "apps/cli/lost_file.h"

#include <gtest/gtest.h>

#include <csignal>
#include <fstream>

#include "base/mapped_file.h"
#include "tests/support/test_folder.h"

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
  const testing::TestFolder folder;
  EXPECT_EXIT(read_what_is_gone(folder / "lost"), ::testing::ExitedWithCode(8),
              "velatura: \".*/lost\" became shorter.* try again");
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
