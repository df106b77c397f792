#include "lora/library/scan.h"

#include <gtest/gtest.h>

#include "base/platform/file_stamp.h"
#include "tests/support/adapter_folder.h"

namespace velatura::lora::library {
namespace {

namespace fs = std::filesystem;
using testing::AdapterFolder;

/// Otherwise whoever follows the folder takes it for changed at every look.
TEST(ReadFolder, TellsTheTimeOfAFolderThatIsAheadOfTheClockAsItIs) {
  const AdapterFolder folder;
  folder.lora("loras/ink.safetensors");
  fs::last_write_time(folder / "loras", fs::file_time_type::clock::now() + std::chrono::hours(24));
  const auto stamp = platform::stamp_of((folder / "loras").c_str());
  ASSERT_TRUE(stamp);
  EXPECT_EQ(read_folder(folder / "loras").changed, stamp->changed);
}

}  // namespace
}  // namespace velatura::lora::library
