// LoKr on convolutions by its factors against the weight that would stand in, and where the one
// gives way to the other.
#include <algorithm>

#include "lora/apply/live_forms.h"
#include "tests/support/mixed_sets.h"

namespace velatura::lora {
namespace {

using testing::MemorySource;
using testing::MixedModules;

class KroneckerFormTest : public testing::MixedSetTest {
 protected:
  using Shapes = std::vector<std::pair<std::string, Shape>>;
  /// One module of `path` with these tensors.
  Use adapter(const std::string& path, const Shapes& tensors, std::uint64_t seed) const {
    MemorySource source;
    MixedModules modules{source, seed};
    for (const auto& [suffix, shape] : tensors) modules.add(path, ".lokr_" + suffix, shape);
    return {.adapter = model_.bind(source, "elm" + std::to_string(seed)), .denoiser = -0.7f};
  }
  Form form(const AdapterSet& set) const {
    const ComponentAccount unet = set.account().at(0);
    EXPECT_EQ(unet.layers.size(), 1u);
    EXPECT_EQ(unet.layers.at(0).forms.size(), 1u);
    return unet.layers.at(0).forms.at(0);
  }
};

TEST_F(KroneckerFormTest, OfAConvolutionIsItsStandIn) {
  const std::vector<Shapes> kinds = {
      {{"w1", {2, 4}}, {"w2", {4, 2, 3, 3}}},
      {{"w1", {2, 4, 1, 1}}, {"w2", {4, 18}}},
      {{"w1_a", {2, 1}}, {"w1_b", {1, 4}}, {"w2_a", {4, 2}}, {"w2_b", {2, 18}}},
      {{"w1", {4, 2}}, {"w2_a", {3, 2}}, {"w2_b", {2, 4}}, {"t2", {3, 2, 3, 3}}},
      {{"w1", {4, 4}}, {"w2", {2, 2, 3, 3}}},
  };
  std::uint64_t seed = 700;
  for (const std::string& path : {M::kConv, M::kDown}) {
    for (const Shapes& kind : kinds) {
      SCOPED_TRACE(path + " " + kind.back().first + " " + kind.back().second.to_string());
      const Use use = adapter(path, kind, seed += 10);
      const AdapterSet live = make({use}), standing = fused({use});
      EXPECT_EQ(form(live), Form::kronecker);
      EXPECT_EQ(form(standing), Form::stand_in);
      EXPECT_EQ(live.account().at(0).bytes, 0u) << "nothing beside the factors";
      for (const auto& table : testing::test_backends()) {
        const Outputs a = run(*table, live);
        expect_close(a, run(*table, standing), std::string(table->name()));
        EXPECT_FALSE(testing::bit_identical(of(a, path), of(run(*table, nullptr), path)));
      }
    }
  }
}

TEST_F(KroneckerFormTest, StrengthsChangeAndSeveralAddUp) {
  const Use first = adapter(M::kConv, {{"w1", {2, 4}}, {"w2", {4, 2, 3, 3}}}, 800),
            second = adapter(M::kConv, {{"w1", {4, 2}}, {"w2", {2, 36}}}, 810);
  AdapterSet set = make({first, second, use(2, 0.5f)});
  for (const float strength : {0.25f, 0.0f, -1.5f}) {
    set.set_strength(set.find(first.adapter->file->content_hash()), strength, 0);
    Use changed = first;
    changed.denoiser = strength;
    for (const auto& table : testing::test_backends())
      expect_close(run(*table, set), run(*table, fused({changed, second, use(2, 0.5f)})));
  }
}

/// The first generation put the kernel's height into w1, and factors of 1 or 2 save nothing.
TEST_F(KroneckerFormTest, WhatIsNoThinFormStandsIn) {
  const std::vector<Shapes> kinds = {{{"w1", {4, 24}}, {"w2", {2, 3}}},
                                     {{"w1", {1, 1}}, {"w2", {8, 8, 3, 3}}},
                                     {{"w1", {1, 2}}, {"w2", {8, 4, 3, 3}}}};
  std::uint64_t seed = 900;
  for (const Shapes& kind : kinds) {
    SCOPED_TRACE(kind.front().second.to_string());
    const Use use = adapter(M::kConv, kind, seed += 10);
    const AdapterSet live = make({use});
    EXPECT_EQ(form(live), Form::stand_in);
    for (const auto& table : testing::test_backends())
      expect_close(run(*table, live), run(*table, fused({use})));
  }
}

TEST_F(KroneckerFormTest, UnderAMaskFactorsServeAsLongAsTheyAreLessThanAProduct) {
  Use thin = adapter(M::kConv, {{"w1", {2, 4}}, {"w2", {4, 2, 3, 3}}}, 950),
      thick = adapter(M::kConv, {{"w1", {1, 1}}, {"w2", {8, 8, 3, 3}}}, 960);
  thin.region = thick.region = Tensor::zeros({2, 1}, DType::f32);
  thin.region.mutable_floats()[0] = thick.region.mutable_floats()[0] = 1;
  EXPECT_EQ(form(make({thin})), Form::kronecker);
  EXPECT_EQ(form(make({thick})), Form::dense_product);
}

}  // namespace
}  // namespace velatura::lora
