// Running the mixed model (mixed_adapters.h) under sets of adapters, and comparing. Header-only.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "lora/apply/adapter_set.h"
#include "tests/support/backends.h"
#include "tests/support/mixed_adapters.h"
#include "tests/support/runs.h"

namespace velatura::testing {

/// The mixed model with its three adapters, pictures of 6 × 5 and 7 words.
class MixedSetTest : public ::testing::Test {
 protected:
  using M = MixedModel;
  using Use = lora::AdapterUse;
  using Outputs = std::vector<M::Output>;
  static constexpr std::int64_t kPictures = 3, kHeight = 6, kWidth = 5, kWordCount = 7;

  MixedSetTest()
      : adapters_(mixed_adapters(model_)),
        picture_(uniform_tensor({kPictures, kHeight, kWidth, M::kChannels}, DType::f32, 1)),
        words_(uniform_tensor({kPictures, kWordCount, M::kText}, DType::f32, 2)) {}

  Use use(std::size_t index, float denoiser, float text = 0) const {
    return {.adapter = adapters_.at(index), .denoiser = denoiser, .text = text};
  }
  std::vector<Use> all_uses() const { return {use(0, 0.8f), use(1, -0.6f), use(2, 0.5f)}; }
  lora::AdapterSet make(std::vector<Use> uses, lora::SetOptions options = {},
                        lora::Mode mode = lora::Mode::live) const {
    options.picture_height = kHeight;
    options.picture_width = kWidth;
    return {model_.components(), std::move(uses), mode, std::move(options)};
  }
  lora::AdapterSet fused(std::vector<Use> uses, lora::SetOptions options = {}) const {
    return make(std::move(uses), std::move(options), lora::Mode::fused);
  }

  Outputs run(ops::OpTable& table, const nn::LayerPatches* patches) const {
    TestRun test(table);
    test.run.patches = patches;
    return model_.forward(test.run, picture_, words_);
  }
  Outputs run(ops::OpTable& table, const lora::AdapterSet& set) const {
    return run(table, set.patches(0));
  }
  Tensor encode(ops::OpTable& table, const lora::AdapterSet& set) const {
    TestRun test(table);
    test.run.patches = set.patches(1);
    return model_.encode(test.run);
  }
  static void expect_same(const Outputs& a, const Outputs& b, const std::string& what = {}) {
    for (std::size_t i = 0; i < a.size(); ++i)
      EXPECT_TRUE(bit_identical(a[i].y, b[i].y)) << a[i].path << " " << what;
  }
  void expect_same(const lora::AdapterSet& a, const lora::AdapterSet& b,
                   const std::string& what = {}) const {
    for (const auto& table : test_backends()) {
      expect_same(run(*table, a), run(*table, b), what);
      EXPECT_TRUE(bit_identical(encode(*table, a), encode(*table, b))) << what;
    }
  }
  static void expect_close(const Outputs& a, const Outputs& b, const std::string& what = {}) {
    // Sums of up to 80 products of size about 1, in another order.
    for (std::size_t i = 0; i < a.size(); ++i)
      EXPECT_TRUE(within(a[i].y, b[i].y, {.absolute = 2e-5, .relative = 2e-5}))
          << a[i].path << " " << what;
  }
  static const Tensor& of(const Outputs& outputs, const std::string& path) {
    for (const M::Output& output : outputs) {
      if (output.path == path) return output.y;
    }
    throw std::logic_error(path);
  }

  M model_;
  std::vector<std::shared_ptr<const lora::BoundAdapter>> adapters_;
  Tensor picture_, words_;
};

}  // namespace velatura::testing
