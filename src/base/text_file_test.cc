#include "base/text_file.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/test_folder.h"
#include "velatura/error.h"

namespace velatura {

namespace {

TEST(TextFile, IsReadWholeUpToItsLimit) {
  const testing::TestFolder folder;
  const std::filesystem::path path = folder / "text";
  std::ofstream(path, std::ios::binary) << "a\nb\0c" << std::string("\0d", 2);
  EXPECT_EQ(read_text(path), std::string("a\nb\0d", 5));
  EXPECT_EQ(read_text(path, 5).size(), 5U);
  EXPECT_THROW(read_text(path, 4), Error);
  EXPECT_TRUE(is_file(path));
  std::ofstream(path, std::ios::trunc).flush();
  EXPECT_EQ(read_text(path), "");
  std::filesystem::remove(path);
  EXPECT_FALSE(is_file(path));
  EXPECT_FALSE(is_file(path.parent_path()));
  EXPECT_THROW(read_text(path), Error);
}

}  // namespace

}  // namespace velatura
