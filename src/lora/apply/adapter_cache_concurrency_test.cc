// Adapters asked for by several threads at once, while files change under them and the cache is
// emptied; what immutable things make on first use (indices, hashes, the list of nearest names) is
// made once, whoever comes first.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "lora/apply/adapter_cache.h"
#include "tests/support/cached_adapters.h"
#include "tests/support/test_folder.h"

namespace velatura::lora {
namespace {

namespace fs = std::filesystem;
using testing::ToyModel;

constexpr int kThreads = 4;

class AdapterCacheFromManyThreads : public ::testing::Test {
 protected:
  fs::path write(const std::string& name, std::uint64_t seed) const {
    return testing::write_toy_lora(folder_ / (name + ".safetensors"), seed);
  }

  testing::TestFolder folder_;
  ToyModel model_;
};

TEST_F(AdapterCacheFromManyThreads, EachGetsWhatItAskedFor) {
  const std::uintmax_t each = 2 * (ToyModel::kIn + ToyModel::kOut) * sizeof(float);
  AdapterCache cache(2 * each);  // of three
  const fs::path paths[] = {write("ash", 1), write("birch", 11), write("cedar", 21)};
  std::atomic<bool> done = false;
  const std::jthread disturber([&] {
    for (std::uint64_t seed = 31; !done; ++seed) {
      cache.clear();
      write("ash", seed);
      EXPECT_LE(cache.counts().bound, cache.counts().opened);
    }
  });
  testing::from_all_threads(kThreads, [&](int thread) {
    for (int i = 0; i < 40; ++i) {
      const fs::path& path = paths[(thread + i) % 3];
      const auto adapter = cache.get(path, model_.components(), model_.names());
      ASSERT_EQ(adapter->modules.size(), 1U);
      EXPECT_EQ(adapter->file->path(), path);
      EXPECT_TRUE(adapter->modules[0].delta->weight_change({}, 1, 0).defined());
    }
  });
  done = true;
}

TEST_F(AdapterCacheFromManyThreads, OneFileIsBoundByAll) {
  const auto file = AdapterFile::open(write("ash", 1));
  testing::MemorySource strange;
  testing::add_pair(strange, "unet." + ToyModel::kQuery, 2, ToyModel::kOut, ToyModel::kIn);
  testing::add_pair(strange, "unet." + ToyModel::kQuery + "uery", 2, 3, 4);
  const auto other = AdapterFile::from_source(
      std::make_shared<const testing::MemorySource>(std::move(strange)), "strange.safetensors");
  const std::string hash = AdapterFile::open(file->path())->content_hash();
  testing::from_all_threads(kThreads, [&](int) {
    EXPECT_EQ(file->content_hash(), hash);
    EXPECT_EQ(lora::bind(file, model_.components(), model_.names())->modules.size(), 1U);
    const auto report = lora::bind(other, model_.components(), model_.names())->report;
    EXPECT_NE(report.tensors.back().reason.find(ToyModel::kBlock), std::string::npos)
        << "the nearest name: " << report.tensors.back().reason;
  });
}

}  // namespace
}  // namespace velatura::lora
