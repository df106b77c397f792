// Every live form against the fused weight and against the formula in double.
#include "lora/apply/live_forms.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "tests/support/mixed_sets.h"

namespace velatura::lora {
namespace {

using testing::bit_identical;
using testing::MemorySource;
using testing::MixedModules;

class LiveFormsTest : public testing::MixedSetTest {
 protected:
  Form only_form(const AdapterSet& set, const std::string& path) const {
    const std::vector<ComponentAccount> accounts = set.account();
    for (const LayerAccount& layer : accounts.at(0).layers) {
      if (layer.path != path) continue;
      EXPECT_EQ(layer.forms.size(), 1u) << path;
      return layer.forms.front();
    }
    ADD_FAILURE() << path;
    return Form::untouched;
  }
  /// y of `path` by loops in double, from the pristine weight and Σ strength · change.
  std::vector<double> formula(const std::string& path, const std::vector<Use>& uses) const;
};

std::vector<double> with_changes(const Tensor& own, std::span<const Tensor> changes) {
  std::vector<double> values(own.floats().begin(), own.floats().end());
  for (const Tensor& change : changes) {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += change.floats()[i];
  }
  return values;
}

std::vector<double> LiveFormsTest::formula(const std::string& path,
                                           const std::vector<Use>& uses) const {
  const nn::LayerInfo& layer = model_.layer(path);
  std::vector<Tensor> changes, bias_changes;
  for (const Use& use : uses) {
    for (const BoundModule& module : use.adapter->modules) {
      if (module.target.component != 0 ||
          model_.components()[0].modules[static_cast<std::size_t>(module.target.layer)].path !=
              path)
        continue;
      const Tensor change = module.delta->weight_change(
          [&] { return pristine_weight(*module.placement, model_.components()); }, use.denoiser, 0);
      if (change.defined()) changes.push_back(change);
      const Tensor bias = module.delta->bias_change(
          [&] { return pristine_bias(*module.placement, model_.components()); }, use.denoiser);
      if (bias.defined()) bias_changes.push_back(bias);
    }
  }
  const std::vector<double> weight = with_changes(layer.weight->original(), changes);
  const Tensor own_bias =
      layer.bias.defined() ? layer.bias : Tensor::zeros({M::kChannels}, DType::f32);
  const std::vector<double> bias = with_changes(own_bias, bias_changes);
  const bool is_kernel = layer.kind == nn::LayerKind::conv2d;
  const Tensor& x = path == M::kKey ? words_ : picture_;
  const std::int64_t in = x.size(-1), stride = layer.geometry.stride;
  const std::int64_t height = is_kernel ? (x.size(1) + stride - 1) / stride : 1,
                     width = is_kernel ? (x.size(2) + stride - 1) / stride : x.count() / in;
  const std::int64_t batch = is_kernel ? x.size(0) : 1, taps = is_kernel ? 3 : 1;
  std::vector<double> y;
  const auto input = [&](std::int64_t n, std::int64_t row, std::int64_t column, std::int64_t i) {
    if (!is_kernel)
      return static_cast<double>(x.floats()[static_cast<std::size_t>(column * in + i)]);
    if (row < 0 || column < 0 || row >= x.size(1) || column >= x.size(2)) return 0.0;
    return static_cast<double>(x.floats()[static_cast<std::size_t>(
        ((n * x.size(1) + row) * x.size(2) + column) * in + i)]);
  };
  const std::int64_t pad = is_kernel ? 1 : 0;
  for (std::int64_t n = 0; n < batch; ++n) {
    for (std::int64_t row = 0; row < height; ++row) {
      for (std::int64_t column = 0; column < width; ++column) {
        for (std::int64_t o = 0; o < M::kChannels; ++o) {
          double sum = bias[static_cast<std::size_t>(o)];
          for (std::int64_t i = 0; i < in; ++i) {
            for (std::int64_t tap = 0; tap < taps * taps; ++tap) {
              const std::int64_t ky = tap / taps, kx = tap % taps;
              sum += weight[static_cast<std::size_t>((o * in + i) * taps * taps + tap)] *
                     input(n, row * stride + ky - pad, column * stride + kx - pad, i);
            }
          }
          y.push_back(sum);
        }
      }
    }
  }
  return y;
}

TEST_F(LiveFormsTest, LiveIsFusedIsTheFormulaInDouble) {
  const std::vector<Use> uses = all_uses();
  const AdapterSet live = make(uses), merged = fused(uses);
  for (const auto& table : testing::test_backends()) {
    const Outputs a = run(*table, live), b = run(*table, merged);
    expect_close(a, b, std::string(table->name()));
    EXPECT_TRUE(testing::within(encode(*table, live), encode(*table, merged), {1e-5, 1e-5}));
    for (const std::string& path : {M::kQuery, M::kKey, M::kConv, M::kDown}) {
      const std::vector<double> expected = formula(path, uses);
      const auto actual = of(a, path).floats();
      ASSERT_EQ(actual.size(), expected.size()) << path;
      for (std::size_t i = 0; i < expected.size(); ++i)
        ASSERT_NEAR(actual[i], expected[i], 3e-5 * (1 + std::abs(expected[i]))) << path << " " << i;
    }
  }
}

TEST_F(LiveFormsTest, EachKindAloneIsItsFormula) {
  for (std::size_t index = 0; index < adapters_.size(); ++index) {
    const std::vector<Use> uses = {use(index, -0.7f)};
    const AdapterSet live = make(uses);
    for (const auto& table : testing::test_backends()) {
      const Outputs outputs = run(*table, live);
      for (const std::string& path : {M::kQuery, M::kKey, M::kConv, M::kDown}) {
        const std::vector<double> expected = formula(path, uses);
        const auto actual = of(outputs, path).floats();
        for (std::size_t i = 0; i < expected.size(); ++i)
          ASSERT_NEAR(actual[i], expected[i], 3e-5 * (1 + std::abs(expected[i])))
              << path << " of " << index;
      }
    }
  }
}

TEST_F(LiveFormsTest, TheAccountNamesTheFormOfEveryLayer) {
  const AdapterSet a = make({use(0, 1, 1)}), b = make({use(1, 1, 1)}), all = make(all_uses());
  EXPECT_EQ(only_form(a, M::kQuery), Form::thin);
  EXPECT_EQ(only_form(a, M::kConv), Form::stand_in) << "LoHa";
  EXPECT_EQ(only_form(a, M::kNorm), Form::parameter);
  EXPECT_EQ(only_form(a, M::kDown), Form::stand_in) << "BOFT";
  EXPECT_EQ(only_form(b, M::kQuery), Form::kronecker);
  EXPECT_EQ(only_form(b, M::kKey), Form::stand_in) << "DoRA";
  const ComponentAccount unet = all.account().at(0);
  EXPECT_EQ(unet.count(Form::thin), 4u);
  EXPECT_EQ(unet.count(Form::kronecker), 1u);
  EXPECT_EQ(unet.count(Form::tucker), 1u);
  EXPECT_EQ(unet.count(Form::stand_in), 4u);
  EXPECT_EQ(unet.count(Form::parameter), 2u) << "the norm, and the convolution's bias";
  EXPECT_EQ(unet.layers.size(), 5u);
  EXPECT_NE(unet.summary().find("1 kronecker"), std::string::npos) << unet.summary();
  EXPECT_EQ(a.account().at(1).count(Form::thin), 1u);
  EXPECT_EQ(b.account().at(1).count(Form::parameter), 1u) << "the table of words";
  EXPECT_EQ(make({}).account().at(0).summary(), "unet: untouched");
  const ComponentAccount merged = fused(all_uses()).account().at(0);
  EXPECT_EQ(merged.count(Form::thin) + merged.count(Form::kronecker), 0u);
  EXPECT_EQ(merged.count(Form::stand_in), 4u);
}

TEST_F(LiveFormsTest, OrderOfNamingNeverChangesABit) {
  std::vector<Use> uses = all_uses();
  uses.push_back(use(1, 0.25f, 0.3f));
  Use scheduled = use(0, 0.4f);
  scheduled.schedule.points = {{0, 1}, {1, 0.5}};
  uses.push_back(scheduled);
  Use masked = use(2, 0.9f);
  masked.region = testing::uniform_tensor({4, 4}, DType::f32, 9);
  for (float& value : masked.region.mutable_floats()) value = std::abs(value);
  uses.push_back(masked);
  const AdapterSet expected = make(uses);
  EXPECT_EQ(expected.size(), 5u) << "the same adapter twice is one";
  std::mt19937 random(4);
  for (int i = 0; i < 6; ++i) {
    std::ranges::shuffle(uses, random);
    expect_same(make(uses), expected);
  }
  const AdapterSet merged = fused(all_uses());
  std::vector<Use> backwards = all_uses();
  std::ranges::reverse(backwards);
  expect_same(fused(backwards), merged);
}

TEST_F(LiveFormsTest, AThousandSwitchesLeaveNoTrace) {
  const auto tables = testing::test_backends();
  ops::OpTable& table = *tables.front();
  const AdapterSet none = make({});
  const auto cache = std::make_shared<StackCache>(1 << 14);  // so small that weights come and go
  AdapterSet set = make(all_uses(), {.cache = cache});
  const float values[] = {0, 0.5f, -1, 2, 0, 0.3f};
  std::mt19937 random(17);
  for (int i = 0; i < 1000; ++i) {
    set.set_strength(random() % 3, values[random() % 6], values[random() % 6]);
    if (i % 10 == 0) run(table, set);
    if (i % 100 != 0) continue;
    std::vector<Use> uses;
    for (std::size_t at = 0; at < set.size(); ++at) uses.push_back(set.use(at));
    expect_same(set, make(uses), "after " + std::to_string(i));
  }
  for (std::size_t at = 0; at < set.size(); ++at) set.set_strength(at, 0, 0);
  EXPECT_EQ(set.patches(0), nullptr);
  EXPECT_EQ(set.patches(1), nullptr);
  expect_same(set, none);
  for (const Use& one : all_uses())
    set.set_strength(set.find(one.adapter->file->content_hash()), one.denoiser, one.text);
  expect_same(set, make(all_uses()));
}

TEST_F(LiveFormsTest, KindsThatAreNotLinearAreMadeAtEachStrength) {
  AdapterSet set = make({use(0, 1)});
  const auto tables = testing::test_backends();
  for (const float strength : {0.25f, 2.0f, -0.5f}) {
    set.set_strength(0, strength, 0);
    const std::vector<double> expected = formula(M::kDown, {use(0, strength)});
    const Outputs outputs = run(*tables.front(), set);
    const auto actual = of(outputs, M::kDown).floats();
    for (std::size_t i = 0; i < expected.size(); ++i)
      ASSERT_NEAR(actual[i], expected[i], 3e-5 * (1 + std::abs(expected[i])));
  }
}

TEST_F(LiveFormsTest, WithoutRoomLayersAreMadeAnewWithTheSameBits) {
  const auto room = [](std::size_t bytes) {
    return SetOptions{.budget = std::make_shared<StandInBudget>(bytes)};
  };
  const AdapterSet roomy = make(all_uses()), tight = make(all_uses(), room(0));
  const std::size_t one_kernel = M::kChannels * M::kChannels * 9 * sizeof(float);
  const AdapterSet middling = make(all_uses(), room(2 * one_kernel));
  expect_same(tight, roomy);
  expect_same(middling, roomy);
  EXPECT_EQ(tight.account().at(0).count(Form::recomputed), 4u);
  EXPECT_EQ(tight.account().at(0).count(Form::stand_in), 0u);
  EXPECT_GT(middling.account().at(0).count(Form::recomputed), 0u);
  EXPECT_GT(middling.account().at(0).count(Form::stand_in), 0u);
  EXPECT_GT(roomy.account().at(0).bytes, 2 * one_kernel);
}

TEST_F(LiveFormsTest, SetsOfOneJobShareTheirRoom) {
  const std::size_t one_kernel = M::kChannels * M::kChannels * 9 * sizeof(float);
  const SetOptions options{.cache = std::make_shared<StackCache>(),
                           .budget = std::make_shared<StandInBudget>(2 * one_kernel)};
  using Counts = std::pair<std::size_t, std::size_t>;
  // The first adapter's LoHa and BOFT kernels fill it.
  const auto forms = [&](std::vector<Use> uses) {
    const AdapterSet set = make(std::move(uses), options);
    const ComponentAccount unet = set.account().at(0);
    return Counts(unet.count(Form::stand_in), unet.count(Form::recomputed));
  };
  EXPECT_EQ(forms({use(0, 1)}), Counts(2, 0));
  EXPECT_EQ(forms({use(0, 1)}), Counts(2, 0)) << "the same weights take room once";
  EXPECT_EQ(forms({use(0, 0.5f)}), Counts(0, 2)) << "others have none left";
  expect_same(make({use(0, 0.5f)}, options), make({use(0, 0.5f)}));
}

TEST_F(LiveFormsTest, FactorsOfLayersMultiplyTheStrength) {
  auto halves = std::make_shared<LayerFactors>(model_.unet().layers().size(), 0.5f);
  (*halves)[static_cast<std::size_t>(*model_.unet().find(M::kConv))] = 0;
  Use factored = use(1, 0.6f, 1);
  factored.factors = {halves};
  const AdapterSet set = make({factored}), half = make({use(1, 0.3f, 1)});
  for (const auto& table : testing::test_backends()) {
    const Outputs a = run(*table, set), b = run(*table, half), none = run(*table, make({}));
    EXPECT_TRUE(bit_identical(of(a, M::kQuery), of(b, M::kQuery)));
    EXPECT_TRUE(bit_identical(of(a, M::kConv), of(none, M::kConv))) << "0 is absence";
    EXPECT_TRUE(bit_identical(encode(*table, set), encode(*table, half))) << "no factors there";
  }
}

TEST_F(LiveFormsTest, AReplacedWeightIsTheBaseOfAll) {
  MemorySource first, second;
  MixedModules{first, 500}.set(M::kQuery, {M::kChannels, M::kChannels});
  MixedModules{second, 600}.set(M::kQuery, {M::kChannels, M::kChannels});
  const Tensor value = first.load("unet." + M::kQuery + ".set_weight");
  const Use set_first{.adapter = model_.bind(first, "first")},
      set_second{.adapter = model_.bind(second, "second")};
  const auto tables = testing::test_backends();
  const auto weight = [&](const AdapterSet& set) {
    return set.patches(0)->find(*model_.unet().find(M::kQuery))->weight->weight()->original();
  };
  EXPECT_TRUE(bit_identical(weight(make({set_first})), value));
  Use faint = set_first;
  faint.denoiser = -0.01f;
  EXPECT_TRUE(bit_identical(weight(make({faint})), value)) << "whatever the strength";

  // DoRA of the third adapter is a function of the weight that the replacement put there.
  const auto& dora = *std::ranges::find_if(adapters_[2]->modules, [&](const BoundModule& module) {
                        return module.target.layer == *model_.unet().find(M::kQuery);
                      })->delta;
  const Tensor change = dora.weight_change([&] { return value; }, 1, 0);
  const Tensor merged = weight(make({set_first, use(2, 0.5f)}));
  for (std::size_t i = 0; i < change.floats().size(); ++i)
    ASSERT_NEAR(merged.floats()[i], value.floats()[i] + 0.5 * change.floats()[i], 1e-6);

  AdapterSet both = make({set_first, Use{.adapter = set_second.adapter, .denoiser = 0}});
  expect_same(both, make({set_first}));
  try {
    both.set_strength(both.find(set_second.adapter->file->content_hash()), 1, 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::mismatch);
    for (const std::string& part : {std::string("\"first\""), std::string("\"second\""), M::kQuery})
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
  expect_same(both, make({set_first}), "a refused change changes nothing");
  EXPECT_THROW(make({set_first, set_second}), Error);
  AdapterSet off = make({set_first, use(2, 1)});
  off.set_strength(off.find(set_first.adapter->file->content_hash()), 0, 0);
  expect_same(off, make({use(2, 1)}));
}

TEST_F(LiveFormsTest, FusedWeightsMayBeOfTheRunsType) {
  const AdapterSet wide = fused(all_uses()),
                   narrow = fused(all_uses(), {.weight_type = DType::bf16});
  const nn::LayerId id = *model_.unet().find(M::kConv);
  const Tensor expected = wide.patches(0)->find(id)->weight->weight()->original();
  EXPECT_TRUE(bit_identical(narrow.patches(0)->find(id)->weight->weight()->original(),
                            from_f32(expected, DType::bf16)));
  EXPECT_LT(wide.account().at(0).error, 1e-6);
  const double lost = narrow.account().at(0).error;
  EXPECT_GT(lost, 1e-4) << "bf16 has 8 bits, and the change is smaller than the weight";
  EXPECT_LT(lost, 0x1p-8 * 10);
}

TEST_F(LiveFormsTest, SwitchingResidentSetsTouchesNoFileAndNoBase) {
  const auto tables = testing::test_backends();
  ops::OpTable& table = *tables.back();  // the one that makes forms
  const auto cache = std::make_shared<StackCache>();
  run(table, make({}));  // the base's own forms
  const std::vector<std::vector<Use>> sets = {{use(0, 1), use(1, 0.5f)}, {use(2, 1)}, all_uses()};
  std::vector<Outputs> first;
  const auto weights_of = [&](const AdapterSet& set) {
    std::vector<const ops::Weight*> weights;
    for (nn::LayerId id = 0; id < static_cast<nn::LayerId>(model_.unet().layers().size()); ++id) {
      const nn::LayerPatch* patch = set.patches(0)->find(id);
      if (patch && patch->weight) weights.push_back(patch->weight->weight().get());
      if (!patch) continue;
      for (const auto& delta : patch->deltas) {
        if (const auto pair = delta->low_rank()) weights.push_back(&pair->down);
      }
    }
    return weights;
  };
  std::vector<std::vector<const ops::Weight*>> made;
  std::vector<AdapterSet> alive;  // their weights cannot be others' in the meantime
  for (const auto& uses : sets) {
    alive.push_back(make(uses, {.cache = cache}));
    first.push_back(run(table, alive.back()));
    made.push_back(weights_of(alive.back()));
  }
  const int loads = model_.counts().loads, forms = model_.counts().forms;
  EXPECT_GT(loads, 0);
  EXPECT_GT(forms, 0);
  for (std::size_t i = 0; i < sets.size(); ++i) {
    const AdapterSet again = make(sets[i], {.cache = cache});
    EXPECT_EQ(weights_of(again), made[i]) << "the very same weights, with their prepared forms";
    expect_same(run(table, again), first[i]);
  }
  EXPECT_EQ(model_.counts().loads, loads);
  EXPECT_EQ(model_.counts().forms, forms);
}

}  // namespace
}  // namespace velatura::lora
