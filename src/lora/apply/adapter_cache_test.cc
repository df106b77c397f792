#include "lora/apply/adapter_cache.h"

#include <gtest/gtest.h>

#include "tests/support/cached_adapters.h"
#include "tests/support/test_folder.h"

namespace velatura::lora {
namespace {

namespace fs = std::filesystem;
using testing::ToyModel;

class AdapterCacheTest : public ::testing::Test {
 protected:
  fs::path write(const std::string& name, std::uint64_t seed, std::int64_t rank = 2) const {
    return testing::write_toy_lora(folder_ / (name + ".safetensors"), seed, rank);
  }
  std::shared_ptr<const BoundAdapter> get(AdapterCache& cache, const fs::path& path) const {
    return cache.get(path, model_.components(), model_.names());
  }

  ToyModel model_;
  testing::TestFolder folder_;
};

TEST_F(AdapterCacheTest, AResidentAdapterIsNotOpenedAgain) {
  AdapterCache cache;
  const fs::path path = write("one", 1);
  const auto first = get(cache, path);
  EXPECT_EQ(get(cache, path), first);
  EXPECT_EQ(get(cache, folder_ / "." / "one.safetensors"), first) << "another way to the same file";
  EXPECT_EQ(cache.counts().opened, 1u);
  EXPECT_EQ(cache.counts().bound, 1u);
  cache.clear();
  EXPECT_NE(get(cache, path), first);
}

TEST_F(AdapterCacheTest, EqualContentIsOneAdapterUnderAnyName) {
  AdapterCache cache;
  const auto first = get(cache, write("one", 1));
  EXPECT_EQ(get(cache, write("copy", 1)), first);
  EXPECT_NE(get(cache, write("other", 5)), first);
  EXPECT_EQ(cache.counts().opened, 3u);
  EXPECT_EQ(cache.counts().bound, 2u);
}

TEST_F(AdapterCacheTest, AFileThatChangedIsReadAgain) {
  AdapterCache cache;
  const fs::path path = write("one", 1);
  const auto first = get(cache, path);
  write("one", 9, 3);
  const auto second = get(cache, path);
  EXPECT_NE(second, first);
  EXPECT_EQ(second->report.max_rank, 3);
  fs::last_write_time(path, fs::last_write_time(path) + std::chrono::seconds(5));
  EXPECT_EQ(get(cache, path), second) << "touched, and still the same";
  EXPECT_EQ(cache.counts().opened, 3u);
  EXPECT_EQ(cache.counts().bound, 2u);
}

TEST_F(AdapterCacheTest, TheOldestGoesFirst) {
  const std::uintmax_t each = 2 * (ToyModel::kIn + ToyModel::kOut) * sizeof(float);
  AdapterCache cache(2 * each);
  const fs::path a = write("a", 1), b = write("b", 11), c = write("c", 21);
  const auto first = get(cache, a);
  const auto second = get(cache, b);
  EXPECT_EQ(get(cache, a), first);
  get(cache, c);
  EXPECT_EQ(get(cache, a), first);
  EXPECT_NE(get(cache, b), second) << "b was used longest ago";
  AdapterCache tiny(1);
  const auto kept = get(tiny, a);
  EXPECT_EQ(get(tiny, a), kept) << "the one asked for stays, however large";
}

TEST_F(AdapterCacheTest, AFailureIsNotRemembered) {
  AdapterCache cache;
  EXPECT_THROW(get(cache, folder_ / "absent.safetensors"), Error);
  const fs::path path = write("absent", 1);
  EXPECT_NE(get(cache, path), nullptr);
}

}  // namespace
}  // namespace velatura::lora
