#include "lora/tools/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "lora/tools/compare_text.h"
#include "lora/tools/delta_product.h"
#include "tests/support/adapter_module.h"

namespace velatura::lora::tools {
namespace {

using testing::AdapterModule;
using testing::Matrix;
using testing::MemorySource;
using testing::uniform_tensor;

double inner(const Matrix& a, const Matrix& b) {
  double sum = 0;
  for (std::int64_t r = 0; r < a.rows(); ++r) {
    for (std::int64_t c = 0; c < a.columns(); ++c) sum += a(r, c) * b(r, c);
  }
  return sum;
}

AdapterModule thin(const Shape& shape, std::int64_t rank, std::uint64_t seed) {
  const std::int64_t columns = shape.count() / shape[0];
  return AdapterModule(shape)
      .add("lora_down.weight", uniform_tensor({rank, columns}, DType::f16, seed))
      .add("lora_up.weight", uniform_tensor({shape[0], rank}, DType::f16, seed + 1))
      .add("alpha", 3.0F);
}

AdapterModule kronecker(const Shape& shape, std::int64_t rows, std::int64_t columns,
                        std::uint64_t seed) {
  return AdapterModule(shape)
      .add("lokr_w1", uniform_tensor({rows, columns}, DType::f32, seed))
      .add("lokr_w2", uniform_tensor({shape[0] / rows, shape[1] / columns}, DType::f32, seed + 1));
}

AdapterModule whole(const Shape& shape, std::uint64_t seed) {
  return AdapterModule(shape).add("diff", uniform_tensor(shape, DType::f32, seed));
}

DeltaForm form_of(const AdapterModule& module) {
  const MadeDelta made = module.make();
  DeltaForm form = DeltaForm::of(*made.delta);
  return form.is_factored() ? form : DeltaForm::dense_form(*made.delta, module.base());
}

TEST(DeltaProduct, IsThatOfTheWholeMatrices) {
  const Shape shape{12, 8};
  const std::vector<AdapterModule> modules = {thin(shape, 3, 1),         thin(shape, 5, 3),
                                              kronecker(shape, 3, 2, 5), kronecker(shape, 3, 2, 7),
                                              whole(shape, 9),           whole(shape, 11)};
  for (const AdapterModule& a : modules) {
    for (const AdapterModule& b : modules) {
      const Matrix left = Matrix::of(a.change(1)), right = Matrix::of(b.change(1));
      EXPECT_NEAR(DeltaForm::product(form_of(a), form_of(b)), inner(left, right),
                  1e-6 * left.norm() * right.norm());
    }
  }
}

TEST(DeltaProduct, OfConvolutions) {
  const Shape shape{12, 8, 3, 3};
  const AdapterModule tucker =
      AdapterModule(shape)
          .add("lora_down.weight", uniform_tensor({4, 8, 1, 1}, DType::f32, 1))
          .add("lora_mid.weight", uniform_tensor({4, 4, 3, 3}, DType::f32, 2))
          .add("lora_up.weight", uniform_tensor({12, 4, 1, 1}, DType::f32, 3));
  EXPECT_TRUE(form_of(tucker).is_factored());
  const std::vector<AdapterModule> modules = {tucker, thin(shape, 3, 1), whole(shape, 9)};
  for (const AdapterModule& a : modules) {
    for (const AdapterModule& b : modules) {
      const Matrix left = Matrix::of(a.change(1)), right = Matrix::of(b.change(1));
      EXPECT_NEAR(DeltaForm::product(form_of(a), form_of(b)), inner(left, right),
                  1e-6 * left.norm() * right.norm());
    }
  }
}

TEST(DeltaProduct, KroneckerPairsOfOtherShapesNeedOneWhole) {
  const DeltaForm a = form_of(kronecker({12, 8}, 3, 2, 5)),
                  b = form_of(kronecker({12, 8}, 4, 2, 5));
  EXPECT_FALSE(DeltaForm::has_product(a, b));
  EXPECT_TRUE(DeltaForm::has_product(a, a));
}

TEST(Gram, AnglesSharesAndWhatCancels) {
  Gram gram(2);
  gram.at(0, 0) = 4;
  gram.at(1, 1) = 1;
  gram.at(1, 0) = -1;
  EXPECT_EQ(gram.at(0, 1), -1);
  EXPECT_DOUBLE_EQ(gram.cosine(0, 1).value(), -0.5);
  EXPECT_DOUBLE_EQ(gram.share(0), 0.8);
  EXPECT_DOUBLE_EQ(gram.combined(), 3.0 / 5);
  EXPECT_FALSE(Gram(2).cosine(0, 1));
  EXPECT_EQ(Gram(2).combined(), 1);
}

/// Attention of a UNet by names and shapes, with or without weights.
class Compare : public ::testing::Test {
 protected:
  inline static const std::string kQuery =
      "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q";
  inline static const std::string kKey =
      "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_k";
  inline static const std::string kValue =
      "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_v";

  static ModelNames model(bool has_weights) {
    auto weights = std::make_shared<MemorySource>();
    for (const std::string& path : {kQuery, kKey, kValue})
      weights->add(path + ".weight", uniform_tensor({12, 8}, DType::f32, 77));
    ModelNames names{.family = "sd15", .title = "a toy"};
    names.components.push_back(component_of("unet", weights::Part::unet, weights->tensors(), {},
                                            has_weights ? weights : nullptr));
    names.index = std::make_shared<const NameIndex>(names.components);
    return names;
  }

  static std::string flat(std::string path) {
    std::ranges::replace(path, '.', '_');
    return "lora_unet_" + path;
  }
  static void add_pair(MemorySource& source, const std::string& path, std::uint64_t seed,
                       float factor = 1) {
    Tensor up = uniform_tensor({12, 3}, DType::f32, seed);
    for (float& value : up.mutable_floats()) value *= factor;
    source.add(flat(path) + ".lora_down.weight", uniform_tensor({3, 8}, DType::f32, seed + 100));
    source.add(flat(path) + ".lora_up.weight", up);
  }
  static std::shared_ptr<const BoundAdapter> bound(MemorySource source, const std::string& name,
                                                   const ModelNames& model) {
    return lora::bind(
        AdapterFile::from_source(std::make_shared<const MemorySource>(std::move(source)),
                                 name + ".safetensors"),
        model.components, *model.index);
  }
};

TEST_F(Compare, EveryLayerIsSeenAndOppositesCancel) {
  const ModelNames names = model(false);
  MemorySource a, b;
  add_pair(a, kQuery, 1);
  add_pair(a, kKey, 2);
  add_pair(b, kQuery, 1, -0.5F);  // half of A's, against it
  add_pair(b, kValue, 3);
  const std::vector adapters = {bound(a, "a", names), bound(b, "b", names)};
  const Comparison comparison = compare(adapters, names);
  ASSERT_EQ(comparison.layers.size(), 3u);
  const auto layer = [&](const std::string& path) -> const ComparedLayer& {
    return *std::ranges::find(comparison.layers, "unet." + path + ".weight", &ComparedLayer::name);
  };
  EXPECT_NEAR(layer(kQuery).gram.cosine(0, 1).value(), -1, 1e-6);
  EXPECT_NEAR(layer(kQuery).gram.share(1), 0.2, 1e-6);
  EXPECT_NEAR(layer(kQuery).gram.combined(), 0.25 / 1.25, 1e-6);
  EXPECT_FALSE(layer(kKey).gram.cosine(0, 1));
  EXPECT_EQ(layer(kKey).gram.share(0), 1);
  EXPECT_THAT(layer(kValue).adapts, ::testing::ElementsAre(false, true));
  EXPECT_EQ(comparison.files[0].layers, 2);

  const std::string text = to_text(comparison, false);
  EXPECT_THAT(text, ::testing::HasSubstr("pulling against each other on 1 of 1 shared layers"));
  EXPECT_THAT(text, ::testing::HasSubstr("cosine -1.000"));
  EXPECT_THAT(to_text(comparison, true), ::testing::HasSubstr(kValue));
  const auto json = nlohmann::json::parse(to_json(comparison));
  EXPECT_EQ(json.at("modules").size(), 3u);
  EXPECT_EQ(json.at("opposed").at(0), "unet." + kQuery + ".weight");
}

TEST_F(Compare, KindsWithoutFactorsAreComparedWholeAndItIsSaid) {
  const ModelNames names = model(false);
  MemorySource a, b, c;
  add_pair(a, kQuery, 1);
  const Tensor difference = uniform_tensor({12, 8}, DType::f32, 5),
               other = uniform_tensor({12, 8}, DType::f32, 6);
  b.add(flat(kQuery) + ".diff", difference);
  c.add(flat(kQuery) + ".diff", other);
  const std::vector adapters = {bound(a, "a", names), bound(b, "b", names), bound(c, "c", names)};
  const Comparison comparison = compare(adapters, names);
  ASSERT_EQ(comparison.layers.size(), 1u);
  EXPECT_TRUE(comparison.layers[0].is_dense);
  const Matrix down = Matrix::of(uniform_tensor({3, 8}, DType::f32, 101)),
               up = Matrix::of(uniform_tensor({12, 3}, DType::f32, 1));
  const std::vector<Matrix> changes = {up * down, Matrix::of(difference), Matrix::of(other)};
  for (int i = 0; i < 3; ++i) {
    for (int j = i; j < 3; ++j) {
      const Matrix &left = changes[static_cast<std::size_t>(i)],
                   &right = changes[static_cast<std::size_t>(j)];
      EXPECT_NEAR(comparison.total.at(i, j), inner(left, right), 1e-5 * left.norm() * right.norm());
    }
  }
  EXPECT_THAT(to_text(comparison, false), ::testing::HasSubstr("compared as whole matrices"));
}

TEST_F(Compare, KindsThatDependOnWeightsNeedThem) {
  MemorySource a, b;
  add_pair(a, kQuery, 1);
  add_pair(b, kQuery, 2);
  b.add(flat(kQuery) + ".dora_scale", uniform_tensor({12, 1}, DType::f32, 9));
  for (const bool has_weights : {false, true}) {
    const ModelNames names = model(has_weights);
    const std::vector adapters = {bound(a, "a", names), bound(b, "b", names)};
    const Comparison comparison = compare(adapters, names);
    EXPECT_EQ(comparison.files[1].unknown, has_weights ? 0 : 1);
    EXPECT_EQ(comparison.total.cosine(0, 1).has_value(), has_weights);
    EXPECT_EQ(to_text(comparison, false).find("give --model") == std::string::npos, has_weights);
  }
}

}  // namespace
}  // namespace velatura::lora::tools
