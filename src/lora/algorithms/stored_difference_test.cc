// Kinds that store what they change: full, norm and bias differences, set-weight.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/support/adapter_module.h"

namespace velatura::lora {
namespace {

using testing::AdapterModule;
using testing::cuts_like_dense;
using ::testing::HasSubstr;
using testing::Matrix;
using testing::relative_error;
using testing::uniform_tensor;

constexpr double kClose = 1e-7;

TEST(FullDifference, AddsWhatIsStored) {
  const Tensor diff = uniform_tensor({8, 6}, DType::bf16, 1);
  for (const Shape& weight : {Shape{8, 6}, Shape{8, 6, 1, 1}, Shape{8, 2, 1, 3}}) {
    const auto module = AdapterModule(weight).add("diff", diff);
    EXPECT_LT(relative_error(module.change(-1.5F), -1.5 * Matrix::of(diff)), kClose);
    EXPECT_TRUE(cuts_like_dense(module, {{1, 4}}));
    EXPECT_TRUE(cuts_like_dense(module, {{4, 8}, {0, 4}}));
    EXPECT_EQ(module.make().algorithm, "full difference");
    EXPECT_EQ(module.make().delta->thin(), nullptr);
  }
}

TEST(FullDifference, OfNormsEmbeddingsAndKernelsStoredFlat) {
  EXPECT_EQ(AdapterModule({7}).add("diff", uniform_tensor({7}, DType::f32, 1)).change(1).shape(),
            (Shape{7}));
  AdapterModule embedding({9, 4});
  embedding.kind(nn::LayerKind::embedding).add("diff", uniform_tensor({9, 4}, DType::f32, 1));
  EXPECT_EQ(embedding.change(1).shape(), (Shape{9, 4}));
}

TEST(FullDifference, MustHaveTheRowsAndColumnsOfTheWeight) {
  const auto [kind, message] =
      AdapterModule({8, 6}).add("diff", uniform_tensor({6, 8}, DType::f32, 1)).error();
  EXPECT_EQ(kind, ErrorKind::mismatch);
  EXPECT_THAT(message, HasSubstr("[6, 8]"));
  EXPECT_THAT(message, HasSubstr("[8, 6]"));
  for (const Shape& shape : {Shape{}, Shape{48}, Shape{0, 6}, Shape{8, 6, 2}})
    EXPECT_EQ(AdapterModule({8, 6}).add("diff", uniform_tensor(shape, DType::f32, 1)).error().first,
              ErrorKind::mismatch);
}

TEST(BiasDifference, StandsBesideAnyKind) {
  const Tensor bias = uniform_tensor({8}, DType::f16, 1),
               down = uniform_tensor({2, 6}, DType::f32, 2),
               up = uniform_tensor({8, 2}, DType::f32, 3);
  const auto module = AdapterModule({8, 6})
                          .with_bias()
                          .add("lora_A.weight", down)
                          .add("lora_B.weight", up)
                          .add("diff_b", bias);
  const MadeDelta made = module.make();
  EXPECT_EQ(made.algorithm, "LoRA + bias difference");
  EXPECT_NE(made.delta->thin(), nullptr) << "the weight's live form stays";
  EXPECT_TRUE(cuts_like_dense(module, {{4, 8}, {0, 2}}));
  EXPECT_NE(made.delta->rows(std::vector<RowRange>{{2, 5}})->thin(), nullptr) << "cut or not";
  EXPECT_LT(relative_error(made.delta->bias_change(testing::no_base, -2), -2.0 * Matrix::of(bias)),
            kClose);
  EXPECT_LT(relative_error(module.change(1), Matrix::of(up) * Matrix::of(down)), 1e-6);
}

TEST(BiasDifference, TakesNothingFromTheKindItStandsBeside) {
  const auto set = AdapterModule({8, 6})
                       .add("set_weight", uniform_tensor({8, 6}, DType::f32, 1))
                       .add("diff_b", uniform_tensor({8}, DType::f32, 2))
                       .make();
  EXPECT_TRUE(set.delta->replaces());
  EXPECT_FALSE(set.delta->is_linear());
  EXPECT_THAT(set.delta->remark(), HasSubstr("no bias"));
}

TEST(BiasDifference, Alone) {
  const Tensor bias = uniform_tensor({8}, DType::f16, 1);
  const auto module = AdapterModule({8, 6}).with_bias().add("diff_b", bias);
  const MadeDelta made = module.make();
  EXPECT_FALSE(made.delta->weight_change(testing::no_base, 1, 0).defined());
  EXPECT_FALSE(made.delta->is_zero());
  EXPECT_TRUE(cuts_like_dense(module, {{5, 8}, {0, 2}}));
  EXPECT_EQ(AdapterModule({8, 6})
                .with_bias()
                .add("diff_b", uniform_tensor({6}, DType::f32, 1))
                .error()
                .first,
            ErrorKind::mismatch);
}

TEST(BiasDifference, IsIgnoredWithAWordWhereThereIsNoBias) {
  const MadeDelta made =
      AdapterModule({8, 6}).add("diff_b", uniform_tensor({8}, DType::f16, 1)).make();
  EXPECT_TRUE(made.delta->is_zero());
  EXPECT_THAT(made.delta->remark(), HasSubstr("no bias"));
}

TEST(NormDifference, WeightAndBiasEachAloneAndTogether) {
  const Tensor weight = uniform_tensor({9}, DType::f16, 1),
               bias = uniform_tensor({9}, DType::bf16, 2);
  const auto expect = [&](const AdapterModule& module, bool has_weight, bool has_bias) {
    const MadeDelta made = module.make();
    EXPECT_EQ(made.algorithm, "norm difference");
    EXPECT_TRUE(made.unused.empty());
    const Tensor of_weight = made.delta->weight_change(testing::no_base, 0.5F, 0),
                 of_bias = made.delta->bias_change(testing::no_base, 0.5F);
    ASSERT_EQ(of_weight.defined(), has_weight);
    ASSERT_EQ(of_bias.defined(), has_bias);
    if (has_weight) {
      EXPECT_LT(relative_error(of_weight, 0.5 * Matrix::of(weight)), kClose);
    }
    if (has_bias) {
      EXPECT_LT(relative_error(of_bias, 0.5 * Matrix::of(bias)), kClose);
    }
  };
  const auto norm = [] { return AdapterModule({9}).with_bias(); };
  expect(norm().add("w_norm", weight).add("b_norm", bias), true, true);
  expect(norm().add("w_norm", weight), true, false);
  expect(norm().add("b_norm", bias), false, true);
  expect(AdapterModule({9}).add("w_norm", weight).add("b_norm", bias), true, false);
  EXPECT_THAT(AdapterModule({9}).add("b_norm", bias).make().delta->remark(), HasSubstr("no bias"));
  EXPECT_EQ(norm().add("w_norm", uniform_tensor({8}, DType::f32, 1)).error().first,
            ErrorKind::mismatch);
}

TEST(SetWeight, StandsInAtEveryStrength) {
  const Tensor value = uniform_tensor({8, 6}, DType::f16, 7);
  const auto module = AdapterModule({8, 6}).add("set_weight", value);
  const MadeDelta made = module.make();
  EXPECT_EQ(made.algorithm, "set-weight");
  EXPECT_TRUE(made.delta->replaces());
  EXPECT_TRUE(made.delta->needs_base());
  EXPECT_FALSE(made.delta->is_linear());
  EXPECT_FALSE(made.delta->is_zero());
  const Matrix change = Matrix::of(value) - Matrix::of(module.weight());
  for (const float strength : {1.0F, -0.5F, 3.0F})
    EXPECT_LT(relative_error(module.change(strength), change), kClose);
  EXPECT_EQ(
      AdapterModule({8, 6}).add("set_weight", uniform_tensor({6, 8}, DType::f32, 1)).error().first,
      ErrorKind::mismatch);
}

TEST(StoredDifferences, HoldNumbersOnly) {
  Tensor broken = uniform_tensor({8, 6}, DType::f32, 1);
  broken.mutable_floats()[3] = std::numeric_limits<float>::quiet_NaN();
  for (const char* suffix : {"diff", "set_weight"}) {
    const auto [kind, message] = AdapterModule({8, 6}).add(suffix, broken).error();
    EXPECT_EQ(kind, ErrorKind::bad_file);
    EXPECT_THAT(message, HasSubstr(suffix));
  }
}

}  // namespace
}  // namespace velatura::lora
