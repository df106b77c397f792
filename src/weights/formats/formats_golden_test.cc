// Every weight file of a golden root opens, and each of its tensors has the bytes its shape asks
// for; the same weights in two containers are equal.
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "tests/support/goldens.h"

namespace velatura::weights {

namespace {

namespace fs = std::filesystem;

bool is_weight_file(const fs::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".safetensors" || extension == ".pt" || extension == ".pth" ||
         extension == ".ckpt" || extension == ".bin";
}

TEST(FormatsGolden, EveryFileOpens) {
  testing::for_each_golden("", [](const fs::path& root) {
    int files = 0;
    for (const fs::directory_entry& entry : fs::recursive_directory_iterator(root)) {
      if (!entry.is_regular_file() || !is_weight_file(entry.path())) continue;
      SCOPED_TRACE(entry.path().string());
      const auto source = open_source(entry.path());
      EXPECT_FALSE(source->tensors().empty());
      for (const TensorInfo& info : source->tensors()) {
        const Tensor tensor = source->load(info.name);
        EXPECT_EQ(tensor.shape(), info.shape) << info.name;
        EXPECT_EQ(tensor.dtype(), info.dtype) << info.name;
        source->release(info.name);
      }
      ++files;
    }
    std::printf("%d weight files in %s\n", files, root.c_str());
  });
}

/// esrgan holds each network as NAME_new.safetensors and, nested, as NAME_params_ema.pth.
TEST(FormatsGolden, PicklesEqualSafetensors) {
  testing::for_each_golden("esrgan", [](const fs::path& folder) {
    constexpr std::string_view kEnding = "_params_ema.pth", kPrefix = "params_ema.";
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename().string();
      if (!name.ends_with(kEnding)) continue;
      SCOPED_TRACE(name);
      const fs::path twin =
          folder / (name.substr(0, name.size() - kEnding.size()) + "_new.safetensors");
      if (!fs::exists(twin)) continue;
      const auto pickle = open_source(entry.path()), expected = open_source(twin);
      EXPECT_EQ(pickle->tensors().size(), expected->tensors().size());
      for (const TensorInfo& info : expected->tensors()) {
        const Tensor a = expected->load(info.name),
                     b = pickle->load(std::string(kPrefix) + info.name);
        ASSERT_EQ(a.byte_size(), b.byte_size());
        EXPECT_EQ(std::memcmp(a.bytes(), b.bytes(), a.byte_size()), 0) << info.name;
      }
    }
  });
}

/// The same network in the zip and in the legacy container.
TEST(FormatsGolden, LegacyEqualsZip) {
  testing::for_each_golden("esrgan", [](const fs::path& folder) {
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
      std::string name = entry.path().filename().string();
      const std::size_t at = name.find("_legacy.pth");
      if (at == std::string::npos || !fs::exists(folder / (name.substr(0, at) + ".pth"))) continue;
      SCOPED_TRACE(name);
      const auto legacy = open_source(entry.path()),
                 zip = open_source(folder / (name.substr(0, at) + ".pth"));
      EXPECT_EQ(legacy->tensors().size(), zip->tensors().size());
      for (const TensorInfo& info : zip->tensors()) {
        const Tensor a = zip->load(info.name), b = legacy->load(info.name);
        ASSERT_EQ(a.byte_size(), b.byte_size());
        EXPECT_EQ(std::memcmp(a.bytes(), b.bytes(), a.byte_size()), 0) << info.name;
      }
    }
  });
}

}  // namespace

}  // namespace velatura::weights
