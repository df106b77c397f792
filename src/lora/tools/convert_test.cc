// Conversions of files made here, on models of two layouts: what the form has no other place for,
// what a file says outside its tensors, and random files there and back.
#include "lora/tools/convert.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "base/error.h"
#include "lora/algorithms/algorithm.h"
#include "tests/support/adapter_changes.h"
#include "tests/support/toy_adapters.h"

namespace velatura::lora::tools {
namespace {

using testing::changes_of;
using ::testing::HasSubstr;
using testing::MemorySource;
using testing::uniform_tensor;

constexpr std::int64_t kIn = 6, kRows = 4, kModulation = 10;
constexpr auto kForms = {Form::kohya, Form::diffusers, Form::comfy};

/// A query, key and value that single files have as one matrix, a plain layer, and (FLUX.1) a last
/// modulation whose halves they swap.
std::shared_ptr<const ModelNames> toy_model(const std::string& family, bool has_bias) {
  const bool is_flux = family == "flux";
  const std::string own = is_flux ? "transformer_blocks.0.attn." : "layers.0.attention.";
  const std::string fused = is_flux ? "double_blocks.0.img_attn." : "layers.0.attention.";
  auto weights = std::make_shared<MemorySource>();
  weights::NameMap native;
  const auto add = [&](const std::string& path, std::int64_t rows, weights::NameRow row) {
    for (const std::string part : {"weight", "bias"}) {
      if (part == "bias" && !has_bias) continue;
      weights->add(path + "." + part,
                   uniform_tensor(part == "bias" ? Shape{rows} : Shape{rows, kIn}, DType::f32,
                                  weights->tensors().size()));
      weights::NameRow named = row;
      named.canonical = path + "." + part;
      named.file += "." + part;
      native.push_back(named);
    }
  };
  std::int64_t at = 0;
  for (const std::string piece : {"to_q", "to_k", "to_v"}) {
    add(own + piece, kRows,
        {.canonical = {}, .file = fused + "qkv", .begin = at, .end = at + kRows});
    at += kRows;
  }
  add(own + "to_out.0", kRows, {.canonical = {}, .file = fused + (is_flux ? "proj" : "out")});
  if (is_flux) {
    add("norm_out.linear", kModulation,
        {.canonical = {}, .file = "final_layer.adaLN_modulation.1", .halves_swapped = true});
  }
  auto names = std::make_shared<ModelNames>();
  names->family = family;
  names->title = "toy";
  names->components.push_back(component_of("transformer",
                                           is_flux ? weights::Part::flux : weights::Part::z_image,
                                           weights->tensors(), std::move(native), weights));
  names->index = std::make_shared<const NameIndex>(names->components);
  return names;
}

class Convert : public ::testing::Test {
 protected:
  Account account(const MemorySource& source, const std::string& family = "flux") {
    auto& names = models_[family];
    if (!names) names = toy_model(family, has_bias_);
    return account_for(
        AdapterFile::from_source(std::make_shared<const MemorySource>(source), "toy.safetensors"),
        names, false);
  }
  Account account(const Conversion& conversion, const std::string& family = "flux") {
    MemorySource source;
    for (const auto& tensor : conversion.tensors) source.add(tensor.name, tensor.tensor);
    for (const auto& [key, value] : conversion.metadata) source.set_metadata(key, value);
    return account(source, family);
  }

  bool has_bias_ = true;  ///< of the models that are not made yet

 private:
  std::map<std::string, std::shared_ptr<const ModelNames>> models_;
};

/// `roundings`: units in the last place of the largest value of a layer.
void expect_same_changes(const Account& actual, const Account& expected, double roundings = 64) {
  ASSERT_TRUE(actual.refusal.empty()) << actual.refusal;
  const auto before = changes_of(expected), after = changes_of(actual);
  ASSERT_EQ(after.size(), before.size());
  for (const auto& [key, change] : before) {
    ASSERT_TRUE(after.contains(key));
    double largest = 1;  // of the weights, which some changes are differences of
    for (const float value : change.floats()) largest = std::max<double>(largest, std::abs(value));
    for (std::int64_t i = 0; i < change.count(); ++i) {
      ASSERT_NEAR(after.at(key).data<float>()[i], change.data<float>()[i],
                  roundings * largest * std::numeric_limits<float>::epsilon())
          << i;
    }
  }
}

void expect_same_bits(const Conversion& a, const Conversion& b) {
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (std::size_t i = 0; i < a.tensors.size(); ++i) {
    const auto &left = a.tensors[i], &right = b.tensors[i];
    ASSERT_EQ(left.name, right.name);
    ASSERT_EQ(left.tensor.dtype(), right.tensor.dtype()) << left.name;
    ASSERT_EQ(left.tensor.shape(), right.tensor.shape()) << left.name;
    EXPECT_EQ(std::memcmp(left.tensor.bytes(), right.tensor.bytes(), left.tensor.byte_size()), 0)
        << left.name;
  }
}

const Tensor* find(const Conversion& conversion, std::string_view end) {
  for (const auto& tensor : conversion.tensors) {
    if (tensor.name.ends_with(end)) return &tensor.tensor;
  }
  return nullptr;
}

const std::string kZFused = "diffusion_model.layers.0.attention.qkv";

/// A fused DoRA whose alpha stands in the header alone.
MemorySource fused_dora() {
  MemorySource source;
  source.add(kZFused + ".lora_A.weight", uniform_tensor({4, kIn}, DType::f32, 1));
  source.add(kZFused + ".lora_B.weight", uniform_tensor({3 * kRows, 4}, DType::f32, 2));
  source.add(kZFused + ".lora_magnitude_vector", uniform_tensor({3 * kRows}, DType::f32, 3));
  return source;
}

TEST_F(Convert, AlphaOutsideTheTensorsOfACutModuleIsWritten) {
  MemorySource header = fused_dora(), metadata = fused_dora();
  header.set_metadata("alpha", "16");
  metadata.set_metadata("lora_adapter_metadata",
                        R"({"transformer.lora_alpha": 16, "transformer.r": 4})");
  for (const MemorySource& source : {header, metadata}) {
    const Account original = account(source, "zimage");
    ASSERT_TRUE(original.refusal.empty()) << original.refusal;
    const Conversion converted = convert(original, {.form = Form::kohya});
    ASSERT_NE(find(converted, "to_q.alpha"), nullptr);
    EXPECT_EQ(find(converted, "to_q.alpha")->floats()[0], 16);
    ASSERT_NE(find(converted, "to_q.dora_scale"), nullptr);
    EXPECT_EQ(find(converted, "to_q.dora_scale")->shape(), (Shape{kRows, 1}));
    EXPECT_FALSE(converted.metadata.contains("alpha"));
    expect_same_changes(account(converted, "zimage"), original);
    expect_same_changes(account(convert(original, {.form = Form::diffusers}), "zimage"), original);
    expect_same_changes(
        account(convert(original, {.form = Form::kohya, .fold_alpha = true}), "zimage"), original);
  }
}

TEST_F(Convert, AlphaOutsideTheTensorsOfOtherKindsIsWritten) {
  const std::string module = "lora_unet_double_blocks_0_img_attn_proj";
  MemorySource loha, lokr;
  for (const char* factor : {"1", "2"}) {
    loha.add(fmt::format("{}.hada_w{}_a", module, factor),
             uniform_tensor({kRows, 2}, DType::f32, 5));
    loha.add(fmt::format("{}.hada_w{}_b", module, factor), uniform_tensor({2, kIn}, DType::f32, 6));
  }
  lokr.add(module + ".lokr_w1", uniform_tensor({2, 2}, DType::f32, 7));
  lokr.add(module + ".lokr_w2_a", uniform_tensor({2, 1}, DType::f32, 8));
  lokr.add(module + ".lokr_w2_b", uniform_tensor({1, 3}, DType::f32, 9));
  for (MemorySource source : {loha, lokr}) {
    const Account original = account(source.set_metadata("alpha", "12"));
    for (const bool fold : {false, true}) {
      const Conversion converted = convert(original, {.form = Form::comfy, .fold_alpha = fold});
      EXPECT_EQ(find(converted, ".alpha") == nullptr, fold);
      expect_same_changes(account(converted), original);
    }
  }
}

TEST_F(Convert, TLoraKeepsItsFactorsAndFoldsIntoBothOfItsLambdas) {
  const std::string module = "transformer.transformer_blocks.0.attn.to_out.0";
  MemorySource source;
  source.add(module + ".q_layer.weight", uniform_tensor({2, kIn}, DType::f32, 1));
  source.add(module + ".p_layer.weight", uniform_tensor({kRows, 2}, DType::f32, 2));
  source.add(module + ".lambda_layer", uniform_tensor({1, 2}, DType::f32, 3));
  source.add(module + ".base_q.weight", uniform_tensor({2, kIn}, DType::f32, 4));
  source.add(module + ".base_p.weight", uniform_tensor({kRows, 2}, DType::f32, 5));
  source.add(module + ".base_lambda", uniform_tensor({1, 2}, DType::f32, 6));
  source.add(module + ".alpha", testing::scalar(5));
  const Account original = account(source);
  for (const bool fold : {false, true}) {
    const Conversion converted = convert(original, {.form = Form::kohya, .fold_alpha = fold});
    EXPECT_EQ(find(converted, ".alpha") == nullptr, fold);
    EXPECT_NE(find(converted, ".base_q"), nullptr);
    expect_same_changes(account(converted), original);
  }
}

TEST_F(Convert, HalvesAreSwappedInDifferencesAndInPairs) {
  MemorySource source;
  source.add("transformer.norm_out.linear.diff", uniform_tensor({kModulation, kIn}, DType::f32, 1));
  source.add("transformer.norm_out.linear.diff_b", uniform_tensor({kModulation}, DType::f32, 2));
  const Account original = account(source);
  const Conversion there = convert(original, {.form = Form::comfy});
  ASSERT_EQ(there.tensors.size(), 2u);
  EXPECT_TRUE(there.tensors[0].name.starts_with("diffusion_model.final_layer"));
  expect_same_changes(account(there), original, 0);
  expect_same_bits(convert(account(there), {.form = Form::comfy}), there);
}

/// A LoHa of every projection in `pieces`, each with its own alpha.
MemorySource split_loha(std::initializer_list<const char*> pieces) {
  MemorySource source;
  std::uint64_t seed = 0;
  for (const std::string piece : pieces) {
    const std::string module = "transformer.transformer_blocks.0.attn." + piece;
    for (const char* factor : {"1", "2"}) {
      source.add(fmt::format("{}.hada_w{}_a", module, factor),
                 uniform_tensor({kRows, 2}, DType::f32, ++seed));
      source.add(fmt::format("{}.hada_w{}_b", module, factor),
                 uniform_tensor({2, kIn}, DType::f32, ++seed));
    }
    source.add(module + ".alpha", testing::scalar(static_cast<float>(seed)));
  }
  return source;
}

TEST_F(Convert, LohaIsJoinedOnABlockDiagonalAndComesBack) {
  const Account original = account(split_loha({"to_q", "to_v"}));
  const Conversion fused = convert(original, {.form = Form::comfy});
  ASSERT_NE(find(fused, "qkv.hada_w1_a"), nullptr);
  EXPECT_EQ(find(fused, "qkv.hada_w1_a")->shape(), (Shape{3 * kRows, 4}));
  expect_same_changes(account(fused), original);
}

TEST_F(Convert, MagnitudesAndBiasesAreJoinedWhereAllProjectionsHaveThem) {
  MemorySource source;
  std::uint64_t seed = 0;
  for (const std::string piece : {"to_q", "to_k", "to_v"}) {
    const std::string module = "transformer.transformer_blocks.0.attn." + piece;
    source.add(module + ".lora_A.weight", uniform_tensor({2, kIn}, DType::f32, ++seed));
    source.add(module + ".lora_B.weight", uniform_tensor({kRows, 2}, DType::f32, ++seed));
    source.add(module + ".lora_B.bias", uniform_tensor({kRows}, DType::f32, ++seed));
    source.add(module + ".lora_magnitude_vector", uniform_tensor({kRows}, DType::f32, ++seed));
    source.add(module + ".alpha", testing::scalar(static_cast<float>(seed)));
  }
  const Account original = account(source);
  ASSERT_TRUE(original.refusal.empty()) << original.refusal;
  expect_same_changes(account(convert(original, {.form = Form::comfy})), original);

  MemorySource lone;
  const std::string module = "transformer.transformer_blocks.0.attn.to_q";
  testing::add_pair(lone, module, 2, kRows, kIn);
  lone.add(module + ".dora_scale", uniform_tensor({kRows, 1}, DType::f32, 9));
  EXPECT_THROW(convert(account(lone), {.form = Form::comfy}), Error);
  expect_same_changes(account(convert(account(lone), {.form = Form::comfy, .dense = true})),
                      account(lone));
}

TEST_F(Convert, BiasesForLayersWithoutOneAreLeftOutByName) {
  has_bias_ = false;
  MemorySource source = fused_dora();
  source.add(kZFused + ".lora_B.bias", uniform_tensor({1}, DType::f32, 4));
  const Account original = account(source, "zimage");
  ASSERT_TRUE(original.refusal.empty()) << original.refusal;
  const Conversion converted = convert(original, {.form = Form::diffusers});
  ASSERT_EQ(converted.notes.size(), 1u);
  EXPECT_THAT(converted.notes.front(), HasSubstr(kZFused + ".lora_B.bias\" was left out: [1]"));
  EXPECT_EQ(find(converted, "bias"), nullptr);
  expect_same_changes(account(converted, "zimage"), original);
}

TEST_F(Convert, ABiasThatAnEarlierModuleHasIsNotWrittenTwice) {
  const Tensor bias = uniform_tensor({kRows}, DType::f32, 1);
  for (const Tensor& second : {bias, uniform_tensor({kRows}, DType::f32, 2)}) {
    MemorySource source;
    source.add("lora_unet_double_blocks_0_img_attn_proj.diff_b", bias);
    testing::add_pair(source, "transformer.transformer_blocks.0.attn.to_out.0", 2, kRows, kIn);
    source.add("transformer.transformer_blocks.0.attn.to_out.0.diff_b", second);
    const Account original = account(source);
    ASSERT_EQ(original.report.count(Fate::ignored) + original.report.count(Fate::refused), 1);
    for (const Form form : {Form::kohya, Form::comfy})
      expect_same_changes(account(convert(original, {.form = form, .drop_unknown = true})),
                          original);
  }
}

TEST_F(Convert, KindsSideBySideInOneProjectionBecomeDenseTogether) {
  MemorySource source = split_loha({"to_k"});
  testing::add_pair(source, "transformer.transformer_blocks.0.attn.to_q", 2, kRows, kIn, 40);
  const Account original = account(source);
  EXPECT_THROW(convert(original, {.form = Form::comfy}), Error);
  expect_same_changes(account(convert(original, {.form = Form::comfy, .dense = true})), original);
  // The change has a rank of kRows at most.
  expect_same_changes(account(convert(original, {.form = Form::comfy, .rank = kRows})), original,
                      1024);
}

/// A random file of pairs or LoHas in a random spelling, type and set of layers.
MemorySource random_file(std::mt19937_64& random, bool is_loha, const std::string& family,
                         bool one_scale) {
  const auto below = [&](std::uint64_t count) { return random() % count; };
  const bool is_flux = family == "flux";
  const bool is_fused = below(2) == 0;
  const std::string own =
      is_flux ? "transformer.transformer_blocks.0.attn." : "transformer.layers.0.attention.";
  struct Module {
    std::string name;
    std::int64_t rows;
  };
  std::vector<Module> modules;
  if (is_fused) {
    modules.push_back(
        {is_flux ? "diffusion_model.double_blocks.0.img_attn.qkv" : kZFused, 3 * kRows});
  } else {
    for (const char* piece : {"to_q", "to_k", "to_v"}) modules.push_back({own + piece, kRows});
    while (modules.size() > 1 && below(2) == 0)
      modules.erase(modules.begin() + static_cast<std::ptrdiff_t>(below(modules.size())));
  }
  modules.push_back({own + "to_out.0", kRows});
  if (is_flux) modules.push_back({"transformer.norm_out.linear", kModulation});
  const DType type = std::array{DType::f32, DType::f16, DType::bf16}[below(3)];
  const bool one_rank = below(2) == 0;
  const double scale = std::array{0.0, 0.5, 1.0, 2.0}[below(4)];  // 0: no alpha
  MemorySource source;
  for (const Module& module : modules) {
    const auto rank = static_cast<std::int64_t>(one_rank ? 3 : 1 + below(5));
    const auto tensor = [&](const std::string& suffix, const Shape& shape) {
      source.add(module.name + suffix, uniform_tensor(shape, type, random()));
    };
    if (is_loha) {
      for (const char* factor : {"1", "2"}) {
        tensor(fmt::format(".hada_w{}_a", factor), {module.rows, rank});
        tensor(fmt::format(".hada_w{}_b", factor), {rank, kIn});
      }
    } else {
      tensor(".lora_A.weight", {rank, kIn});
      tensor(".lora_B.weight", {module.rows, rank});
    }
    const double alpha = one_scale ? scale * static_cast<double>(rank) : 1 + below(4);
    // In the type of the matrices, as trainers write it.
    if (scale > 0) {
      source.add(module.name + ".alpha",
                 from_f32(testing::scalar(static_cast<float>(alpha)), type));
    }
  }
  return source;
}

TEST_F(Convert, RandomFilesDoTheSameInEveryFormAndComeBackInTheSameBits) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    std::mt19937_64 random(seed);
    const bool is_loha = seed % 3 == 0;
    const std::string family = seed % 2 == 0 ? "flux" : "zimage";
    // Scales that differ go into factors when they are joined.
    const bool one_scale = seed % 5 > 0;
    const MemorySource source = random_file(random, is_loha, family, one_scale);
    const Account original = account(source, family);
    ASSERT_TRUE(original.refusal.empty()) << original.refusal;
    const double coarse =
        testing::epsilon_of(source.tensors().front().dtype) / std::numeric_limits<float>::epsilon();
    for (const Form form : kForms) {
      if (is_loha && form == Form::diffusers) continue;
      SCOPED_TRACE(fmt::format("seed {}, {}", seed, to_string(form)));
      const Conversion direct = convert(original, {.form = form});
      const Account there = account(direct, family);
      expect_same_changes(there, original, 64 * coarse);
      for (const Form over : kForms) {
        if (is_loha && over == Form::diffusers) continue;
        const Account between = account(convert(there, {.form = over}), family);
        const Conversion back = convert(between, {.form = form});
        expect_same_changes(account(back, family), original, 64 * coarse);
        if (one_scale) expect_same_bits(back, direct);
      }
    }
  }
}

}  // namespace
}  // namespace velatura::lora::tools
