#include "base/mapped_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "base/platform/mapped_files.h"
#include "tests/support/test_folder.h"
#include "velatura/error.h"

namespace velatura {

namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class MappedFileTest : public ::testing::Test {
 protected:
  fs::path write(const char* name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return folder_ / name;
  }
  static std::string refusal(const fs::path& path) {
    try {
      MappedFile::open(path);
    } catch (const Error& error) {
      return error.what();
    }
    return {};
  }
  testing::TestFolder folder_;
};

TEST_F(MappedFileTest, OnlyRegularFilesAreOpenedAndNoneIsWaitedFor) {
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(refusal(folder_ / "pipe"), HasSubstr("not a regular file"));
  EXPECT_THAT(refusal("/dev/zero"), HasSubstr("not a regular file"));
  EXPECT_THAT(refusal(folder_.path()), HasSubstr("not a regular file"));
  EXPECT_THAT(refusal(folder_ / "absent"), HasSubstr("absent"));
}

TEST_F(MappedFileTest, AnAddressTellsItsFile) {
  const auto one = MappedFile::open(write("one", "1234")),
             two = MappedFile::open(write("two", "5"));
  const auto empty = MappedFile::open(write("empty", ""));
  EXPECT_TRUE(empty->bytes().empty());
  EXPECT_EQ(platform::mapped_file_at(one->bytes().data() + 3), one->path());
  EXPECT_EQ(platform::mapped_file_at(two->bytes().data()), two->path());
  const std::byte* gone = nullptr;
  {
    const auto again = MappedFile::open(folder_ / "one");
    gone = again->bytes().data();
    EXPECT_EQ(platform::mapped_file_at(gone), one->path());
  }
  EXPECT_EQ(platform::mapped_file_at(gone), nullptr);
  EXPECT_EQ(platform::mapped_file_at(nullptr), nullptr);
  EXPECT_EQ(platform::mapped_file_at(this), nullptr);
}

TEST_F(MappedFileTest, MoreFilesThanAreRememberedAreMapped) {
  std::vector<std::shared_ptr<const MappedFile>> files;
  const fs::path path = write("one", "1234");
  constexpr int kMany = 3000;
  for (int i = 0; i < kMany; ++i) files.push_back(MappedFile::open(path));
  EXPECT_EQ(files.back()->bytes().size(), 4U);
  files.clear();
  const auto file = MappedFile::open(path);
  EXPECT_EQ(platform::mapped_file_at(file->bytes().data()), file->path());
}

}  // namespace

}  // namespace velatura
