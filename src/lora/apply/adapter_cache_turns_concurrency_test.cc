// Who waits for whom when adapters are asked for by several threads: those alone that ask for what
// another is reading or binding.
#include <gtest/gtest.h>

#include <latch>
#include <thread>

#include "lora/apply/adapter_cache.h"
#include "tests/support/cached_adapters.h"
#include "tests/support/test_folder.h"
#include "velatura/error.h"

namespace velatura::lora {
namespace {

namespace fs = std::filesystem;
using testing::ToyModel;

constexpr int kThreads = 4;

class AdapterCacheTurns : public ::testing::Test {
 protected:
  fs::path write(const std::string& name, std::uint64_t seed) const {
    return testing::write_toy_lora(folder_ / (name + ".safetensors"), seed);
  }

  testing::TestFolder folder_;
  ToyModel model_;
};

TEST_F(AdapterCacheTurns, ASlowFileHoldsUpNobodyElse) {
  const fs::path slow = write("ash", 1), quick = write("birch", 11);
  std::latch may_go_on(1);
  AdapterCache cache(AdapterCache::kMostBytes, [&](const fs::path& path) {
    if (path == slow) may_go_on.wait();
    return AdapterFile::open(path);
  });
  const auto get = [&](const fs::path& path) {
    return cache.get(path, model_.components(), model_.names())->modules.size();
  };
  const std::jthread first([&] { EXPECT_EQ(get(slow), 1U); });
  const std::jthread second([&] { EXPECT_EQ(get(slow), 1U); });
  while (cache.counts().opened == 0) std::this_thread::yield();
  EXPECT_EQ(get(quick), 1U);
  EXPECT_EQ(get(quick), 1U);
  EXPECT_EQ(cache.counts().opened, 2U);
  cache.clear();
  may_go_on.count_down();
}

TEST_F(AdapterCacheTurns, WhatFailsFailsForEachThatAsks) {
  AdapterCache cache;
  const fs::path path = folder_ / "gone.safetensors";
  testing::from_all_threads(kThreads, [&](int) {
    EXPECT_THROW(cache.get(path, model_.components(), model_.names()), Error);
  });
  EXPECT_EQ(cache.counts().known, 0U);
}

TEST_F(AdapterCacheTurns, OneReadsAndBindsForAllThatAsk) {
  AdapterCache cache;
  const fs::path ash = write("ash", 1), same = write("birch", 1);
  testing::from_all_threads(kThreads, [&](int thread) {
    const auto adapter =
        cache.get(thread % 2 == 0 ? ash : same, model_.components(), model_.names());
    EXPECT_EQ(adapter->modules.size(), 1U);
  });
  EXPECT_EQ(cache.counts().opened, 2U);
  EXPECT_EQ(cache.counts().bound, 1U);
  EXPECT_EQ(cache.counts().known, 2U);
}

TEST_F(AdapterCacheTurns, WhatIsNotResidentIsNotRemembered) {
  AdapterCache cache(1);  // of one
  for (std::uint64_t seed = 1; seed < 9; ++seed) {
    cache.get(write("ash" + std::to_string(seed), seed), model_.components(), model_.names());
    EXPECT_EQ(cache.counts().known, 1U);
  }
}

}  // namespace
}  // namespace velatura::lora
