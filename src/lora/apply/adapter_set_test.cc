#include "lora/apply/adapter_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "nn/patched_product.h"
#include "ops/conv2d.h"
#include "tests/support/backends.h"
#include "tests/support/runs.h"
#include "tests/support/toy_adapters.h"

namespace velatura::lora {
namespace {

using testing::add_pair;
using testing::bit_identical;
using testing::MemorySource;
using testing::TestRun;
using testing::ToyModel;
using testing::uniform_tensor;

/// Adapters of different layers, ranks and types on the toy model.
class AdapterSetTest : public ::testing::Test {
 protected:
  AdapterSetTest() {
    MemorySource a, b, c;
    add_pair(a, "unet." + ToyModel::kQuery, 4, ToyModel::kOut, ToyModel::kIn, 1, DType::f16);
    add_pair(a, "text_encoder." + ToyModel::kTextQuery, 2, ToyModel::kText, ToyModel::kText, 2);
    add_pair(b, "unet." + ToyModel::kQuery, 3, ToyModel::kOut, ToyModel::kIn, 3, DType::bf16);
    add_pair(b, "unet." + ToyModel::kConv, 2, ToyModel::kOut, ToyModel::kIn * 9, 4);
    b.add("unet." + ToyModel::kConv + ".alpha", testing::scalar(1));
    add_pair(c, "unet." + ToyModel::kQuery, 5, ToyModel::kOut, ToyModel::kIn, 5, DType::f16);
    add_pair(c, "unet." + ToyModel::kPointwise, 2, ToyModel::kOut, ToyModel::kIn, 6);
    for (const MemorySource* source : {&a, &b, &c})
      adapters_.push_back(model_.bind(*source, "adapter" + std::to_string(adapters_.size())));
  }

  AdapterSet make(std::vector<AdapterUse> uses, Mode mode = Mode::live,
                  std::shared_ptr<StackCache> cache = nullptr) const {
    return AdapterSet(model_.components(), std::move(uses), mode, {.cache = std::move(cache)});
  }
  AdapterUse use(std::size_t index, float denoiser, float text = 0, std::int64_t ranks = 0) const {
    return {.adapter = adapters_.at(index), .denoiser = denoiser, .text = text, .ranks = ranks};
  }

  /// The output of `path` under `set`'s patches.
  Tensor run(const std::string& path, const AdapterSet& set, ops::OpTable& table) const {
    TestRun test(table);
    test.run.patches = set.patches(0);
    const nn::LayerInfo& layer = model_.layer(path);
    const bool is_convolution = layer.kind == nn::LayerKind::conv2d;
    const Tensor x = uniform_tensor(
        is_convolution ? Shape{1, 5, 4, ToyModel::kIn} : Shape{7, layer.weight->shape()[1]},
        DType::f32, 77);
    const Tensor y = nn::patched_product(
        test.run, nn::patched_rows(test.run, model_.unet().find(path).value(), x.size(0)), x,
        *layer.weight, layer.bias, {},
        [&](const Tensor& rows, const ops::Weight& weight, const Tensor& bias,
            const ops::Epilogue& end) {
          return is_convolution ? ops::conv2d(test.ops, rows, weight, bias, layer.geometry, end)
                                : ops::linear(test.ops, rows, weight, bias, end);
        });
    return y.clone();
  }

  void expect_same(const AdapterSet& a, const AdapterSet& b) const {
    for (const auto& table : testing::test_backends()) {
      for (const std::string& path : kPaths)
        EXPECT_TRUE(bit_identical(run(path, a, *table), run(path, b, *table))) << path;
    }
  }

  inline static const std::vector<std::string> kPaths = {ToyModel::kQuery, ToyModel::kConv,
                                                         ToyModel::kPointwise, ToyModel::kKey};
  ToyModel model_;
  std::vector<std::shared_ptr<const BoundAdapter>> adapters_;
};

TEST_F(AdapterSetTest, LiveIsFused) {
  const std::vector<AdapterUse> uses = {use(0, 0.7f), use(1, -1.3f), use(2, 2.5f)};
  const AdapterSet live = make(uses), fused = make(uses, Mode::fused);
  // Sums of up to 14 ranks and 54 inputs of size about 1, in another order.
  constexpr double kTolerance = 1e-5;
  for (const auto& table : testing::test_backends()) {
    for (const std::string& path : kPaths) {
      const Tensor a = run(path, live, *table), b = run(path, fused, *table);
      EXPECT_TRUE(testing::within(a, b, {.absolute = kTolerance * 10, .relative = kTolerance}))
          << path;
    }
  }
}

TEST_F(AdapterSetTest, OrderOfNamingNeverChangesABit) {
  std::vector<AdapterUse> uses = {use(0, 0.3f), use(1, -0.7f), use(2, 1.1f),
                                  use(0, 0.1f), use(0, 1e-8f), use(0, -0.4f)};
  const AdapterSet expected = make(uses), expected_fused = make(uses, Mode::fused);
  EXPECT_EQ(expected.size(), 3u);
  std::mt19937 random(5);
  for (int i = 0; i < 20; ++i) {
    std::ranges::shuffle(uses, random);
    expect_same(make(uses), expected);
    if (i < 3) expect_same(make(uses, Mode::fused), expected_fused);
  }
}

TEST_F(AdapterSetTest, TheSameAdapterTwiceAddsUp) {
  expect_same(make({use(0, 0.5f), use(0, 0.25f)}), make({use(0, 0.75f)}));
  const AdapterSet cancelled = make({use(0, 0.5f), use(0, -0.5f)});
  EXPECT_EQ(cancelled.patches(0), nullptr);
}

TEST_F(AdapterSetTest, NothingToDoMeansNoPatches) {
  EXPECT_EQ(make({}).patches(0), nullptr);
  EXPECT_EQ(make({use(0, 0.0f, 0.0f)}).patches(0), nullptr);
  EXPECT_EQ(make({use(0, -0.0f)}).patches(0), nullptr);
  EXPECT_EQ(make({use(0, 0.0f, 1.0f)}).patches(0), nullptr);
  EXPECT_NE(make({use(0, 0.0f, 1.0f)}).patches(1), nullptr);
  EXPECT_EQ(make({use(1, 1.0f, 1.0f)}).patches(1), nullptr) << "the adapter has no text part";
  EXPECT_EQ(make({use(0, 0.0f)}, Mode::fused).patches(0), nullptr);
  EXPECT_EQ(make({}).patches(9), nullptr);
}

TEST_F(AdapterSetTest, LayersWithoutDeltaKeepTheirBits) {
  const AdapterSet none = make({}), some = make({use(0, 1.0f)});
  for (const auto& table : testing::test_backends())
    EXPECT_TRUE(
        bit_identical(run(ToyModel::kConv, some, *table), run(ToyModel::kConv, none, *table)));
}

TEST_F(AdapterSetTest, AdaptersOfNoEffectLeaveLayersAlone) {
  MemorySource source;
  add_pair(source, "unet." + ToyModel::kQuery, 4, ToyModel::kOut, ToyModel::kIn);
  source.add("unet." + ToyModel::kQuery + ".alpha", testing::scalar(0));
  const auto silent = model_.bind(source);
  EXPECT_EQ(make({{.adapter = silent}}).patches(0), nullptr);
}

TEST_F(AdapterSetTest, SetStrengthIsARebuiltSet) {
  for (const Mode mode : {Mode::live, Mode::fused}) {
    AdapterSet set = make({use(0, 1.0f), use(1, 1.0f), use(2, 1.0f)}, mode);
    std::mt19937 random(3);
    const float values[] = {0.0f, 0.5f, -1.0f, 2.0f, 0.0f};
    const int rounds = mode == Mode::live ? 60 : 10;
    for (int i = 0; i < rounds; ++i) {
      set.set_strength(random() % 3, values[random() % 5], 0);
      if (i % 5 != 0) continue;
      std::vector<AdapterUse> uses;
      for (std::size_t at = 0; at < set.size(); ++at) uses.push_back(set.use(at));
      expect_same(set, make(uses, mode));
    }
  }
}

TEST_F(AdapterSetTest, AThousandSwitchesLeaveNoTrace) {
  const auto cache = std::make_shared<StackCache>(4096);  // so small that stacks come and go
  const auto tables = testing::test_backends();
  ops::OpTable& table = *tables.back();
  const AdapterSet none = make({});
  const Tensor plain = run(ToyModel::kQuery, none, table);
  const Tensor all = run(ToyModel::kQuery, make({use(0, 1), use(1, 1), use(2, 1)}), table);
  AdapterSet set = make({use(0, 1), use(1, 1), use(2, 1)}, Mode::live, cache);
  std::mt19937 random(11);
  for (int i = 0; i < 1000; ++i) {
    const auto index = random() % 3;
    set.set_strength(index, set.use(index).denoiser == 0 ? 1.0f : 0.0f, 0);
    run(ToyModel::kQuery, set, table);
  }
  for (std::size_t index = 0; index < 3; ++index) set.set_strength(index, 1, 0);
  EXPECT_TRUE(bit_identical(run(ToyModel::kQuery, set, table), all));
  for (std::size_t index = 0; index < 3; ++index) set.set_strength(index, 0, 0);
  EXPECT_EQ(set.patches(0), nullptr);
  EXPECT_TRUE(bit_identical(run(ToyModel::kQuery, set, table), plain));
}

TEST_F(AdapterSetTest, RanksUsesTheFirstOnes) {
  // Two ranks of c alone are an adapter made of its first two rows and columns.
  const ThinFactors& whole = *adapters_[2]->modules.at(0).delta->thin();
  const Tensor up = to_f32(whole.up->original());
  Tensor first = Tensor::allocate({ToyModel::kOut, 2}, DType::f32);
  for (std::int64_t o = 0; o < ToyModel::kOut; ++o) {
    for (std::int64_t r = 0; r < 2; ++r)
      first.mutable_data<float>()[o * 2 + r] = up.data<float>()[o * 5 + r];
  }
  MemorySource source;
  const std::string module = "unet." + ToyModel::kQuery;
  source.add(module + ".lora_A.weight", to_f32(whole.down->original().slice(0, 2)));
  source.add(module + ".lora_B.weight", first);
  const AdapterSet expected = make({{.adapter = model_.bind(source)}}),
                   two = make({use(2, 1.0f, 0, 2)}),
                   fused = make({use(2, 1.0f, 0, 2)}, Mode::fused),
                   many = make({use(2, 1.0f, 0, 99)}), all = make({use(2, 1.0f)});
  for (const auto& table : testing::test_backends()) {
    EXPECT_TRUE(
        bit_identical(run(ToyModel::kQuery, two, *table), run(ToyModel::kQuery, expected, *table)));
    EXPECT_TRUE(testing::within(run(ToyModel::kQuery, fused, *table),
                                run(ToyModel::kQuery, two, *table),
                                {.absolute = 1e-5, .relative = 1e-5}));
  }
  expect_same(many, all);
}

TEST_F(AdapterSetTest, StrengthsAreFiniteNumbers) {
  for (const float bad : {NAN, INFINITY}) {
    EXPECT_THROW(make({use(0, bad)}), Error);
    EXPECT_THROW(make({use(0, 1, bad)}), Error);
    AdapterSet set = make({use(0, 1)});
    EXPECT_THROW(set.set_strength(0, bad, 0), Error);
    EXPECT_EQ(set.use(0).denoiser, 1) << "a refused change changes nothing";
  }
  EXPECT_THROW(make({use(0, 3e38f), use(0, 3e38f)}), Error) << "their sum is none";
  EXPECT_THROW(make({use(0, 1, 1, -1)}), Error);
}

TEST_F(AdapterSetTest, AnAdapterAloneIsNotCopied) {
  StackCache cache;
  const auto& delta = adapters_[0]->modules.at(0).delta;
  const auto stack = cache.stack({{.delta = delta, .ranks = delta->rank()}});
  EXPECT_EQ(&stack->down(), delta->thin()->down.get());
  EXPECT_EQ(&stack->up(), delta->thin()->up.get());
  EXPECT_EQ(stack->bytes(), 0u);
}

TEST_F(AdapterSetTest, StacksAreKeptForTheNextSetWithinABound) {
  const auto parts = [&](std::int64_t ranks) {
    const auto &a = adapters_[0]->modules.at(0).delta, &b = adapters_[1]->modules.at(0).delta;
    return std::vector<StackPart>{{.delta = a, .ranks = ranks}, {.delta = b, .ranks = b->rank()}};
  };
  StackCache roomy;
  const auto first = roomy.stack(parts(2));
  EXPECT_EQ(roomy.stack(parts(2)), first);
  EXPECT_NE(roomy.stack(parts(1)), first);
  roomy.clear();
  EXPECT_NE(roomy.stack(parts(2)), first);
  StackCache tight(first->bytes());
  const auto kept = tight.stack(parts(2));
  tight.stack(parts(1));
  EXPECT_NE(tight.stack(parts(2)), kept) << "the older one had to go";
}

TEST_F(AdapterSetTest, FindKnowsTheFixedOrder) {
  const AdapterSet set = make({use(2, 1), use(0, 1), use(1, 1)});
  for (const auto& adapter : adapters_)
    EXPECT_EQ(set.use(set.find(adapter->file->content_hash())).adapter, adapter);
  EXPECT_EQ(set.find("nothing"), set.size());
  std::vector<std::string> order;
  for (std::size_t i = 0; i < set.size(); ++i)
    order.push_back(set.use(i).adapter->file->content_hash());
  EXPECT_TRUE(std::ranges::is_sorted(order));
}

}  // namespace
}  // namespace velatura::lora
