// Adapters that others trained and published, where they stand beside the repository
// (../shared/data/lora); SD 1.5 at full size by its names alone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "lora/bind/bind.h"
#include "tests/lora_keys/sd15_names.h"
#include "velatura/error.h"

namespace velatura::lora {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

fs::path folder() {
  const char* dir = std::getenv("VELATURA_SOURCE_DIR");
  return (dir ? fs::path(dir) : fs::current_path()) / "../shared/data/lora";
}

/// Files of algorithms and layouts that this version does not build; told by their names.
bool is_built(const std::string& name) {
  return name.find("cloneofsimo") == name.npos && name.find("lokr") == name.npos;
}

TEST(RealAdapters, BindWhollyOrAreRefusedByName) {
  if (!fs::exists(folder())) GTEST_SKIP() << folder() << " is not there";
  const testing::Sd15Names model;
  int bound = 0, refused = 0, files = 0;
  for (const auto& entry : fs::directory_iterator(folder())) {
    const std::string name = entry.path().filename().string();
    SCOPED_TRACE(name);
    ++files;
    const auto file = AdapterFile::open(entry.path());
    try {
      const auto adapter = lora::bind(file, model.components(), model.names());
      ++bound;
      EXPECT_TRUE(name.starts_with("sd15_") && is_built(name));
      const auto count = static_cast<int>(file->source().tensors().size());
      EXPECT_EQ(static_cast<int>(adapter->report.tensors.size()), count);
      EXPECT_EQ(adapter->report.count(Fate::bound), count) << adapter->report.summary();
      EXPECT_EQ(adapter->report.bound_modules(), static_cast<int>(file->modules().size()));
    } catch (const Error& error) {
      ++refused;
      EXPECT_FALSE(name.starts_with("sd15_") && is_built(name)) << error.what();
      if (name.starts_with("sd21_")) {
        EXPECT_THAT(error.what(), HasSubstr("made for SD 2.x"));
      }
      if (name.starts_with("sd15_cloneofsimo")) {
        EXPECT_THAT(error.what(), HasSubstr("first LoRA trainer's layout"));
      }
      if (name.find("lokr") != name.npos) {
        EXPECT_THAT(error.what(), HasSubstr("LoKr is recognised"));
      }
    }
  }
  EXPECT_GT(bound, 0);
  EXPECT_EQ(bound + refused, files);
}

}  // namespace
}  // namespace velatura::lora
