#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/support/adapter_module.h"

namespace velatura::lora {
namespace {

using testing::AdapterModule;
using ::testing::AllOf;
using testing::cuts_like_dense;
using ::testing::HasSubstr;
using testing::Matrix;
using testing::no_base;
using testing::relative_error;
using testing::uniform_tensor;

constexpr double kClose = 1e-6;

Tensor extents(std::initializer_list<std::int64_t> values) {
  Tensor list = Tensor::allocate({static_cast<std::int64_t>(values.size())}, DType::i64);
  std::copy(values.begin(), values.end(), list.mutable_data<std::int64_t>());
  return list;
}

void expect_change(const AdapterModule& module, const Matrix& delta) {
  for (const float strength : {1.0F, 0.5F, -3.0F})
    EXPECT_LT(relative_error(module.change(strength), static_cast<double>(strength) * delta),
              kClose);
}

TEST(Lora, IsUpTimesDownOnLinearLayersAndConvolutions) {
  std::uint64_t seed = 1;
  for (const Shape& weight : {Shape{7, 5}, Shape{40, 70}, Shape{6, 4, 3, 3}, Shape{5, 3, 1, 1}}) {
    for (const std::int64_t rank : {1, 4, 9}) {
      for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
        const std::int64_t columns = weight.count() / weight[0];
        const Shape down_shape = weight.rank() == 4 ? Shape{rank, weight[1], weight[2], weight[3]}
                                                    : Shape{rank, columns};
        const Tensor down = uniform_tensor(down_shape, type, ++seed);
        const Tensor up = uniform_tensor({weight[0], rank}, type, ++seed);
        const auto module = AdapterModule(weight)
                                .add("lora_down.weight", down)
                                .add("lora_up.weight", up)
                                .add("alpha", 3.0F);
        expect_change(module,
                      3.0 / static_cast<double>(rank) * (Matrix::of(up) * Matrix::of(down)));
        EXPECT_TRUE(cuts_like_dense(module, {{1, 3}}));
        EXPECT_TRUE(cuts_like_dense(module, {{3, 5}, {0, 2}}));
        const MadeDelta made = module.make();
        EXPECT_EQ(made.algorithm, "LoRA");
        EXPECT_TRUE(made.delta->is_linear());
        EXPECT_FALSE(made.delta->is_zero());
        const ThinFactors& thin = *made.delta->thin();
        EXPECT_EQ(thin.down->shape(), down_shape);
        EXPECT_LT(
            relative_error(made.delta->weight_change(no_base, 1, 0),
                           static_cast<double>(thin.scale) * (Matrix::of(thin.up->original()) *
                                                              Matrix::of(thin.down->original()))),
            kClose);
      }
    }
  }
}

TEST(Lora, FirstRanksAloneKeepTheScaleOfAll) {
  const Tensor down = uniform_tensor({4, 5}, DType::f32, 1),
               up = uniform_tensor({7, 4}, DType::f32, 2);
  const auto made = AdapterModule({7, 5})
                        .add("lora_A.weight", down)
                        .add("lora_B.weight", up)
                        .add("alpha", 2.0F)
                        .make();
  const Matrix expected =
      0.5 * (Matrix::of(up).block(0, 0, 7, 3) * Matrix::of(down).block(0, 0, 3, 5));
  EXPECT_LT(relative_error(made.delta->weight_change(no_base, 1, 3), expected), kClose);
  EXPECT_TRUE(testing::bit_identical(made.delta->weight_change(no_base, 1, 9),
                                     made.delta->weight_change(no_base, 1, 0)))
      << "there are no more than four";
}

TEST(Lora, MlxStoresBothFactorsTransposed) {
  for (const std::int64_t in : {5, 7}) {  // square ones can't be told by their shapes
    const Tensor down = uniform_tensor({in, 7}, DType::f32, 1),
                 up = uniform_tensor({7, 7}, DType::f32, 2);
    expect_change(AdapterModule({7, in}).add("lora_a", down).add("lora_b", up),
                  Matrix::of(up).transposed() * Matrix::of(down).transposed());
  }
}

TEST(Lora, BiasesOfTheLowRankLayersReachTheBias) {
  const Tensor down = uniform_tensor({4, 5}, DType::f32, 1),
               up = uniform_tensor({7, 4}, DType::f32, 2),
               down_bias = uniform_tensor({4}, DType::f32, 3),
               up_bias = uniform_tensor({7}, DType::f16, 4);
  const auto pair = [&] {
    return AdapterModule({7, 5})
        .with_bias()
        .add("lora_A.weight", down)
        .add("lora_B.weight", up)
        .add("alpha", 2.0F);
  };
  const Matrix from_up = 0.5 * Matrix::of(up_bias),
               from_down = 0.5 * (Matrix::of(up) * Matrix::of(down_bias));
  const auto bias_of = [](const AdapterModule& module) {
    return module.make().delta->bias_change(testing::no_base, -2);
  };
  EXPECT_FALSE(bias_of(pair()).defined());
  EXPECT_LT(relative_error(bias_of(pair().add("lora_B.bias", up_bias)), -2.0 * from_up), kClose);
  EXPECT_LT(relative_error(bias_of(pair().add("lora_up.bias", up_bias)), -2.0 * from_up), kClose);
  EXPECT_LT(relative_error(bias_of(pair().add("lora_A.bias", down_bias)), -2.0 * from_down),
            kClose);
  const auto both = pair().add("lora_A.bias", down_bias).add("lora_B.bias", up_bias);
  EXPECT_LT(relative_error(bias_of(both), -2.0 * (from_up + from_down)), kClose);
  EXPECT_TRUE(cuts_like_dense(both, {{4, 7}, {0, 1}}));
  EXPECT_EQ(pair().add("lora_B.bias", uniform_tensor({6}, DType::f32, 1)).error().first,
            ErrorKind::mismatch);
  EXPECT_EQ(pair().add("lora_A.bias", uniform_tensor({5}, DType::f32, 1)).error().first,
            ErrorKind::mismatch);
}

/// Three layers joined into one, each with ranks of its own and zeros elsewhere (lora-formats
/// §2.8).
TEST(Lora, APieceOfAJoinedProjectionHasItsOwnRanksAlone) {
  constexpr std::int64_t kRows = 4, kRank = 2, kPieces = 3, kColumns = 5;
  const Tensor down = uniform_tensor({kPieces * kRank, kColumns}, DType::f16, 1);
  Tensor up = uniform_tensor({kPieces * kRows, kPieces * kRank}, DType::f32, 2);
  for (std::int64_t i = 0; i < up.count(); ++i) {
    const std::int64_t row = i / (kPieces * kRank), rank = i % (kPieces * kRank);
    if (row / kRows != rank / kRank) up.mutable_floats()[static_cast<std::size_t>(i)] = 0;
  }
  const auto module = AdapterModule({kPieces * kRows, kColumns})
                          .add("lora_down.weight", down)
                          .add("lora_up.weight", up)
                          .add("alpha", 3.0F);
  const MadeDelta whole = module.make();
  for (std::int64_t k = 0; k < kPieces; ++k) {
    const std::vector<RowRange> rows = {{k * kRows, (k + 1) * kRows}};
    const auto piece = whole.delta->rows(rows);
    EXPECT_EQ(piece->rank(), kRank);
    EXPECT_EQ(piece->thin()->scale, whole.delta->thin()->scale) << "α over all stored ranks";
    EXPECT_TRUE(testing::bit_identical(piece->thin()->down->original(),
                                       down.slice(k * kRank, (k + 1) * kRank)));
    for (std::int64_t ranks = 0; ranks <= kPieces * kRank + 1; ++ranks) {
      EXPECT_TRUE(testing::bit_identical(
          piece->weight_change(no_base, -0.5F, ranks),
          gather_rows(whole.delta->weight_change(no_base, -0.5F, ranks), rows)))
          << "the first " << ranks << " ranks of the file";
      if (ranks > 0) {
        EXPECT_EQ(piece->ranks_among(ranks), std::clamp<std::int64_t>(ranks - k * kRank, 0, kRank));
      }
    }
    EXPECT_EQ(piece->rows(std::vector<RowRange>{{1, 3}})->ranks_among(k * kRank + 1), 1);
  }
  const auto over = whole.delta->rows(std::vector<RowRange>{{kRows - 1, kRows + 1}});
  EXPECT_EQ(over->rank(), 2 * kRank) << "rows of two pieces";
}

TEST(Lora, BiasWithoutABiasToAddToIsSaid) {
  const auto made = AdapterModule({7, 5})
                        .add("lora_A.weight", uniform_tensor({4, 5}, DType::f32, 1))
                        .add("lora_B.weight", uniform_tensor({7, 4}, DType::f32, 2))
                        .add("lora_B.bias", uniform_tensor({7}, DType::f32, 3))
                        .make();
  EXPECT_FALSE(made.delta->bias_change(testing::no_base, 1).defined());
  EXPECT_THAT(made.delta->remark(), HasSubstr("no bias"));
}

TEST(Lora, ZeroUpWithABiasIsNotZero) {
  const auto pair = [] {
    return AdapterModule({7, 5})
        .with_bias()
        .add("lora_A.weight", uniform_tensor({4, 5}, DType::f32, 1))
        .add("lora_B.weight", Tensor::zeros({7, 4}, DType::f32));
  };
  EXPECT_TRUE(pair().make().delta->is_zero());
  EXPECT_FALSE(
      pair().add("lora_B.bias", uniform_tensor({7}, DType::f32, 3)).make().delta->is_zero());
  EXPECT_TRUE(pair()
                  .add("lora_B.bias", uniform_tensor({7}, DType::f32, 3))
                  .add("alpha", 0.0F)
                  .make()
                  .delta->is_zero());
}

TEST(Lora, ReshapeWeightWidensAnInputLayer) {
  const Tensor down = uniform_tensor({4, 10}, DType::f32, 1),
               up = uniform_tensor({7, 4}, DType::f32, 2);
  const auto module = [&](std::initializer_list<std::int64_t> shape) {
    return AdapterModule({7, 5})
        .on("x_embedder")
        .add("lora_A.weight", down)
        .add("lora_B.weight", up)
        .add("reshape_weight", extents(shape));
  };
  const auto made = module({7, 10}).make();
  EXPECT_TRUE(made.unused.empty());
  const Tensor change = made.delta->weight_change(no_base, -2, 0);
  EXPECT_EQ(change.shape(), (Shape{7, 10}));
  EXPECT_LT(relative_error(change, -2.0 * (Matrix::of(up) * Matrix::of(down))), kClose);
  EXPECT_THAT(made.delta->remark(), HasSubstr("from [7, 5] to [7, 10]"));
  EXPECT_EQ(made.delta->thin()->down->shape(), (Shape{4, 10}));
  for (const auto& wrong : {module({7, 4}), module({8, 10}), module({7, 11}), module({7, 10, 1}),
                            module({7, -1}), module({})})
    EXPECT_EQ(wrong.error().first, ErrorKind::mismatch);
  EXPECT_EQ(AdapterModule(module({7, 10})).on("other").error().first, ErrorKind::mismatch)
      << "no other layer has an input to widen";
}

TEST(Lora, ControlLorasWidenTheInputWithoutSayingSo) {
  const auto module = [] {
    return AdapterModule({7, 5})
        .on("x_embedder")
        .add("lora_A.weight", uniform_tensor({4, 10}, DType::f32, 1))
        .add("lora_B.weight", uniform_tensor({7, 4}, DType::f32, 2));
  };
  EXPECT_EQ(module().error().first, ErrorKind::mismatch);
  const auto made =
      module()
          .elsewhere("single_blocks.0.norm.key_norm.scale", Tensor::zeros({4}, DType::f32))
          .make();
  EXPECT_EQ(made.delta->weight_change(no_base, 1, 0).shape(), (Shape{7, 10}));
}

TEST(Lora, NarrowerInputLayersGetZerosForWhatTheyDoNotKnow) {
  const Tensor up = uniform_tensor({7, 4}, DType::f32, 2);
  const auto expect_padded = [&](const Shape& weight, const Tensor& down, const std::string& path) {
    const auto module =
        AdapterModule(weight).on(path).add("lora_A.weight", down).add("lora_B.weight", up);
    const Matrix narrow = Matrix::of(up) * Matrix::of(down);
    expect_change(module,
                  Matrix::generate(7, weight.count() / 7, [&](std::int64_t r, std::int64_t c) {
                    return c < narrow.columns() ? narrow(r, c) : 0.0;
                  }));
    EXPECT_THAT(module.make().delta->remark(), HasSubstr("input columns"));
  };
  expect_padded({7, 12}, uniform_tensor({4, 5}, DType::f16, 1), "x_embedder");
  expect_padded({7, 9, 3, 3}, uniform_tensor({4, 4, 3, 3}, DType::f32, 1), "conv_in");
  const auto elsewhere = AdapterModule({7, 12})
                             .add("lora_A.weight", uniform_tensor({4, 5}, DType::f32, 1))
                             .add("lora_B.weight", up);
  EXPECT_EQ(elsewhere.error().first, ErrorKind::mismatch);
}

TEST(Lora, WhatDoesNotFitIsRefusedWithBothShapes) {
  const auto pair = [](const Shape& weight, const Shape& down, const Shape& up) {
    return AdapterModule(weight)
        .add("lora_down.weight", uniform_tensor(down, DType::f32, 1))
        .add("lora_up.weight", uniform_tensor(up, DType::f32, 2));
  };
  const auto [kind, message] = pair({7, 5}, {4, 6}, {7, 4}).error();
  EXPECT_EQ(kind, ErrorKind::mismatch);
  EXPECT_THAT(message, AllOf(HasSubstr("[4, 6]"), HasSubstr("[7, 4]"), HasSubstr("[7, 5]"),
                             HasSubstr("[r, 5]"), HasSubstr("[7, r]")));
  EXPECT_EQ(pair({7, 5}, {0, 5}, {7, 0}).error().first, ErrorKind::mismatch) << "rank 0";
  EXPECT_EQ(pair({7, 5}, {4, 5}, {7, 8}).error().first, ErrorKind::mismatch) << "other ranks";
  EXPECT_EQ(pair({7, 5}, {20}, {28}).error().first, ErrorKind::mismatch) << "vectors";
  EXPECT_EQ(pair({7, 5}, {}, {}).error().first, ErrorKind::mismatch) << "numbers";
  EXPECT_EQ(pair({7}, {4, 1}, {7, 4}).error().first, ErrorKind::mismatch) << "on a norm";
  EXPECT_EQ(pair({7, 5, 3, 3}, {4, 5, 3, 2}, {7, 4, 1, 1}).error().first, ErrorKind::mismatch);
  auto embedding = pair({7, 5}, {4, 5}, {7, 4});
  EXPECT_EQ(embedding.kind(nn::LayerKind::embedding).error().first, ErrorKind::mismatch);
}

TEST(Lora, NumbersThatAreNoneAreRefusedByName) {
  const auto pair = [] {
    return AdapterModule({7, 5}).add("lora_down.weight", uniform_tensor({4, 5}, DType::f32, 1));
  };
  const Tensor up = uniform_tensor({7, 4}, DType::f32, 2);
  Tensor broken = up.clone();
  broken.mutable_floats()[5] = std::numeric_limits<float>::infinity();
  const auto [kind, message] = pair().add("lora_up.weight", broken).error();
  EXPECT_EQ(kind, ErrorKind::bad_file);
  EXPECT_THAT(message, HasSubstr("lora_up.weight"));
  const auto with_alpha = [&](Tensor alpha) {
    return pair().add("lora_up.weight", up).add("alpha", std::move(alpha)).error().first;
  };
  EXPECT_EQ(with_alpha(Tensor::from(std::vector{std::numeric_limits<float>::quiet_NaN()}, {})),
            ErrorKind::bad_file);
  EXPECT_EQ(with_alpha(Tensor::zeros({2}, DType::f32)), ErrorKind::bad_file);
}

}  // namespace
}  // namespace velatura::lora
