// Adapters that others trained and published, where they stand beside the repository
// (../shared/data/lora); SD1.5 at full size by its names alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "lora/bind/bind.h"
#include "tests/lora_keys/full_size.h"
#include "velatura/error.h"

namespace velatura::lora {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

TEST(RealAdapters, BindWhollyOrAreRefusedByName) {
  const fs::path folder = fs::path(testing::source_dir()) / "../shared/data/lora";
  if (!fs::exists(folder)) GTEST_SKIP() << folder << " is not there";
  const testing::FullSize& model = testing::full_size("sd15");
  int bound = 0, refused = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    SCOPED_TRACE(name);
    const auto file = AdapterFile::open(entry.path());
    try {
      const auto adapter = lora::bind(file, model.components(), model.names());
      ++bound;
      EXPECT_TRUE(name.starts_with("sd15_"));
      const auto count = static_cast<int>(file->source().tensors().size());
      EXPECT_EQ(static_cast<int>(adapter->report.tensors.size()), count);
      EXPECT_EQ(adapter->report.count(Fate::refused) + adapter->report.count(Fate::ignored), 0)
          << adapter->report.summary();
      EXPECT_EQ(adapter->report.bound_modules(), static_cast<int>(file->modules().size()));
    } catch (const Error& error) {
      ++refused;
      EXPECT_TRUE(name.starts_with("sd21_")) << error.what();
      EXPECT_THAT(error.what(), HasSubstr("made for SD2.x"));
      EXPECT_THAT(error.what(), HasSubstr("text width 1024"));
    }
  }
  EXPECT_GT(bound, 0);
  EXPECT_GT(refused, 0);
}

}  // namespace
}  // namespace velatura::lora
