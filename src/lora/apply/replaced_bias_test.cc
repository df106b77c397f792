// Biases that an adapter stores whole, and those that PEFT's (IA)³ multiplies, on layers that run:
// against the formula in double, live and fused.
#include <gmock/gmock.h>

#include <cmath>

#include "lora/apply/dense_change.h"
#include "tests/support/mixed_sets.h"
#include "velatura/error.h"

namespace velatura::lora {
namespace {

using ::testing::HasSubstr;
using testing::MemorySource;
using testing::MixedModules;
using testing::uniform_tensor;

class ReplacedBiasTest : public testing::MixedSetTest {
 protected:
  std::shared_ptr<const BoundAdapter> bind(const MemorySource& source,
                                           const std::string& name = "fir") const {
    return model_.bind(source, name);
  }
  /// Whole parameters alone are a checkpoint: an adapter has a matrix too, of the text encoder
  /// here.
  static MemorySource adapter_file() {
    MemorySource source;
    const std::string projection = "text_encoder." + M::kProjection;
    source.add(projection + ".lora_A.weight", uniform_tensor({2, M::kText}, DType::f32, 181));
    source.add(projection + ".lora_B.weight", uniform_tensor({M::kText, 2}, DType::f32, 182));
    return source;
  }
  static Tensor value(std::uint64_t seed = 7) {
    return uniform_tensor({M::kChannels}, DType::f32, seed);
  }
  /// y of the layer without adapters + factor · (value − bias) on every output.
  void expect_shift(const AdapterSet& set, const std::string& path, const Tensor& value,
                    double factor = 1) const {
    const Tensor bias = model_.layer(path).bias;
    for (const auto& table : testing::test_backends()) {
      const Outputs plain = run(*table, nullptr), shifted = run(*table, set);
      for (std::size_t i = 0; i < of(plain, path).floats().size(); ++i) {
        const std::size_t o = i % static_cast<std::size_t>(M::kChannels);
        const double expected =
            of(plain, path).floats()[i] +
            factor * (static_cast<double>(value.floats()[o]) - bias.floats()[o]);
        ASSERT_NEAR(of(shifted, path).floats()[i], expected, 2e-5 * (1 + std::abs(expected)))
            << path << " " << i;
      }
    }
  }
  /// Binding gives every tensor the fate.
  static void expect_fates(const BoundAdapter& adapter, Fate fate) {
    for (const TensorFate& tensor : adapter.report.tensors)
      EXPECT_EQ(tensor.fate, fate) << tensor.name << ": " << tensor.reason;
  }
};

TEST_F(ReplacedBiasTest, StandsInAtEveryStrengthInEverySpelling) {
  for (const std::string& path : {M::kQuery, M::kConv, M::kNorm}) {
    for (const std::string& name :
         {"unet." + path + ".bias", "base_model.model." + path + ".base_layer.bias",
          "base_model.model." + path + ".modules_to_save.default.bias",
          "unet." + path + ".bias.set_weight"}) {
      MemorySource source = adapter_file();
      source.add(name, value());
      const auto adapter = bind(source);
      expect_fates(*adapter, Fate::bound);
      EXPECT_EQ(adapter->report.tensors.back().targets,
                std::vector<std::string>{"unet." + path + ".bias"});
      EXPECT_EQ(adapter->report.modules.at("unet"), 1);
      EXPECT_EQ(adapter->report.algorithms.at("set-bias"), 1);
      for (const float strength : {1.0F, -0.5F}) {
        expect_shift(make({{.adapter = adapter, .denoiser = strength, .text = 0}}), path, value());
        expect_shift(fused({{.adapter = adapter, .denoiser = strength, .text = 0}}), path, value());
      }
      expect_same(make({{.adapter = adapter, .denoiser = 0, .text = 0}}), make({}));
    }
  }
}

TEST_F(ReplacedBiasTest, BesideOtherKindsOfOneFileItIsNoFurtherModule) {
  MemorySource source;
  source.add("unet." + M::kQuery + ".bias", value());  // before the weight it stands beside
  MixedModules{source, 400}.lora(M::kQuery, M::kChannels).bias(M::kQuery);
  const auto adapter = bind(source);
  expect_fates(*adapter, Fate::bound);
  EXPECT_EQ(adapter->report.bound_modules(), 1);
  EXPECT_EQ(adapter->modules.size(), 2u);

  MemorySource without;
  MixedModules{without, 400}.lora(M::kQuery, M::kChannels).bias(M::kQuery);
  const auto pair = bind(without, "pair");
  const Tensor own = model_.layer(M::kQuery).bias;
  for (const auto& table : testing::test_backends()) {
    for (const Mode mode : {Mode::live, Mode::fused}) {
      const Outputs both = run(*table, make({{.adapter = adapter, .denoiser = 0.5F}}, {}, mode));
      const Outputs one = run(*table, make({{.adapter = pair, .denoiser = 0.5F}}, {}, mode));
      for (std::size_t i = 0; i < of(one, M::kQuery).floats().size(); ++i) {
        const std::size_t o = i % static_cast<std::size_t>(M::kChannels);
        EXPECT_NEAR(of(both, M::kQuery).floats()[i],
                    of(one, M::kQuery).floats()[i] + value().floats()[o] - own.floats()[o], 1e-4);
      }
    }
  }
}

TEST_F(ReplacedBiasTest, WholeWeightAndBiasAreOneModule) {
  MemorySource source = adapter_file();
  source.add("unet." + M::kNorm + ".bias", value());
  source.add("unet." + M::kNorm + ".weight", value(8));
  const auto adapter = bind(source);
  expect_fates(*adapter, Fate::bound);
  EXPECT_EQ(adapter->report.modules.at("unet"), 1);
  for (const auto& table : testing::test_backends())
    expect_close(run(*table, make({{.adapter = adapter, .denoiser = 1}})),
                 run(*table, fused({{.adapter = adapter, .denoiser = 1}})));
}

TEST_F(ReplacedBiasTest, DifferencesBehindAParametersOwnName) {
  MemorySource source;
  source.add("unet." + M::kQuery + ".bias.diff", value());
  const auto adapter = bind(source);
  expect_fates(*adapter, Fate::bound);
  Tensor sum = model_.layer(M::kQuery).bias.clone();
  for (std::size_t i = 0; i < sum.floats().size(); ++i)
    sum.mutable_floats()[i] += value().floats()[i];
  expect_shift(make({{.adapter = adapter, .denoiser = -0.5F}}), M::kQuery, sum, -0.5);
}

TEST_F(ReplacedBiasTest, ALayerWithoutOneIsLeftAloneWithAWord) {
  MemorySource source = adapter_file();
  source.add("unet." + M::kKey + ".bias", value());
  const auto adapter = bind(source);
  EXPECT_EQ(adapter->report.tensors.back().fate, Fate::note);
  EXPECT_THAT(adapter->report.tensors.back().reason, HasSubstr("no bias"));
  expect_same(make({{.adapter = adapter, .denoiser = 1, .text = 0}}), make({}));
}

TEST_F(ReplacedBiasTest, AnotherLengthIsRefused) {
  MemorySource source;
  source.add("unet." + M::kQuery + ".bias", uniform_tensor({M::kChannels + 1}, DType::f32, 1));
  MixedModules{source, 400}.lora(M::kQuery, M::kChannels);
  const auto adapter = bind(source);
  EXPECT_EQ(adapter->report.tensors[0].fate, Fate::refused);
  EXPECT_THAT(adapter->report.tensors[0].reason, HasSubstr("[9]"));
  EXPECT_EQ(adapter->report.bound_modules(), 1);
}

TEST_F(ReplacedBiasTest, TwoFilesOnOneBiasAreAnErrorThatNamesBoth) {
  MemorySource one = adapter_file(), other = adapter_file();
  one.add("unet." + M::kQuery + ".bias", value(1));
  other.add("unet." + M::kQuery + ".bias", value(2));
  const auto a = bind(one, "elm"), b = bind(other, "oak");
  try {
    make({{.adapter = a, .denoiser = 1}, {.adapter = b, .denoiser = 1}});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("both replace the bias of"));
    EXPECT_THAT(error.what(), HasSubstr("elm"));
    EXPECT_THAT(error.what(), HasSubstr("oak"));
  }
  EXPECT_NO_THROW(make({{.adapter = a, .denoiser = 1}, {.adapter = b, .denoiser = 0}}));
}

TEST_F(ReplacedBiasTest, PeftsIa3MultipliesTheOutputsWithTheirBias) {
  MemorySource source;
  source.add("base_model.model." + M::kQuery + ".ia3_l", value(3).reshaped({M::kChannels, 1}));
  const auto adapter = bind(source);
  expect_fates(*adapter, Fate::bound);
  for (const auto& table : testing::test_backends()) {
    for (const Mode mode : {Mode::live, Mode::fused}) {
      const Outputs plain = run(*table, nullptr);
      const Outputs grown = run(*table, make({{.adapter = adapter, .denoiser = 0.7F}}, {}, mode));
      for (std::size_t i = 0; i < of(plain, M::kQuery).floats().size(); ++i) {
        const double l = value(3).floats()[i % static_cast<std::size_t>(M::kChannels)];
        const double y = of(plain, M::kQuery).floats()[i], expected = y + 0.7 * (l - 1) * y;
        ASSERT_NEAR(of(grown, M::kQuery).floats()[i], expected, 3e-5 * (1 + std::abs(expected)));
      }
    }
  }
}

TEST_F(ReplacedBiasTest, OtherKindsSeeTheReplacedBiasAndAMaskHoldsItBack) {
  MemorySource set = adapter_file(), grow;
  set.add("unet." + M::kQuery + ".bias", value(5));
  grow.add("base_model.model." + M::kQuery + ".ia3_l", value(3).reshaped({M::kChannels, 1}));
  const auto a = bind(set, "elm"), b = bind(grow, "oak");
  const Tensor own = model_.layer(M::kQuery).bias;
  for (const auto& table : testing::test_backends()) {
    const Outputs plain = run(*table, nullptr);
    const Outputs both =
        run(*table, make({{.adapter = a, .denoiser = 1}, {.adapter = b, .denoiser = 1}}));
    for (std::size_t i = 0; i < of(plain, M::kQuery).floats().size(); ++i) {
      const std::size_t o = i % static_cast<std::size_t>(M::kChannels);
      const double l = value(3).floats()[o];
      const double expected =
          (of(plain, M::kQuery).floats()[i] - own.floats()[o] + value(5).floats()[o]) * l;
      ASSERT_NEAR(of(both, M::kQuery).floats()[i], expected, 3e-5 * (1 + std::abs(expected)));
    }
  }
  const Tensor everywhere = Tensor::from(std::vector<float>(4, 1.0F), {2, 2});
  expect_shift(make({{.adapter = a, .denoiser = 1, .region = everywhere}}), M::kQuery, value(5));
}

/// The file speaks of a whole of two layers, whose rows are each layer's own.
TEST(BaseWeights, PiecesOfWhatReplacesAFusedModule) {
  constexpr std::int64_t kRows = 3, kColumns = 2;
  auto weights = std::make_shared<MemorySource>();
  for (const char* name : {"a", "b"}) {
    weights->add(std::string(name) + ".weight", uniform_tensor({kRows, kColumns}, DType::f32, 1));
    weights->add(std::string(name) + ".bias", uniform_tensor({kRows}, DType::f32, 2));
  }
  const std::vector<Component> components = {
      component_of("unet", weights::Part::unet, weights->tensors(), {}, weights)};
  auto whole = std::make_shared<Placement>();
  whole->path = "both";
  whole->pieces = {{.target = {0, 0}, .rows = {{0, kRows}}},
                   {.target = {0, 1}, .rows = {{kRows, 2 * kRows}}}};
  whole->weight = Shape{2 * kRows, kColumns};
  whole->has_bias = true;
  const Tensor value = uniform_tensor({2 * kRows, kColumns}, DType::f32, 3),
               bias = uniform_tensor({2 * kRows}, DType::f32, 4);
  MemorySource file;
  file.add("both.set_weight", value).add("bias", bias);
  const auto opened = AdapterFile::from_source(std::make_shared<MemorySource>(file), "x");
  const FileModule set_bias{.name = "b", .tensors = {{Role::set_bias, "bias"}}, .numbered = {}};
  const auto made = [&](const FileModule& module) {
    return std::shared_ptr<const ModuleDelta>(make_delta({.file = *opened,
                                                          .module = module,
                                                          .path = whole->path,
                                                          .weight = whole->weight,
                                                          .has_bias = true,
                                                          .component = "unet"})
                                                  .delta);
  };
  BaseWeights::Replacements replacements;
  const auto second = whole->pieces[1];
  replacements.weights[second.target] = {cut(made(opened->modules().front()), second.rows), whole};
  replacements.biases[second.target] = {cut(made(set_bias), second.rows), whole};
  const BaseWeights base(components, replacements);
  EXPECT_TRUE(testing::bit_identical(base.weight(second.target), value.slice(kRows, 2 * kRows)));
  EXPECT_TRUE(testing::bit_identical(base.bias(second.target), bias.slice(kRows, 2 * kRows)));
  EXPECT_TRUE(testing::bit_identical(base.weight({0, 0}), weights->load("a.weight")));
  EXPECT_TRUE(
      testing::bit_identical(base.whole_bias(*whole).slice(kRows, 2 * kRows), base.bias({0, 1})));
  EXPECT_TRUE(testing::bit_identical(base.whole_bias(*whole).slice(0, kRows), base.bias({0, 0})));
}

}  // namespace
}  // namespace velatura::lora
