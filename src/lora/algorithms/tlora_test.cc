// T-LoRA's orthogonal factors against its formula in double.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/adapter_module.h"

namespace velatura::lora {
namespace {

using testing::AdapterModule;
using ::testing::HasSubstr;
using testing::Matrix;
using testing::relative_error;
using testing::uniform_tensor;

constexpr double kClose = 1e-6;

struct Factors {
  Tensor q, p, lambda, base_q, base_p, base_lambda;
};

/// Rank 3 on 8 outputs and 6 inputs; `kernel` as LyCORIS keeps convolutions, 1 × 1.
Factors factors(bool kernel) {
  const auto tensor = [&](std::int64_t rows, std::int64_t columns, std::uint64_t seed) {
    return uniform_tensor(kernel ? Shape{rows, columns, 1, 1} : Shape{rows, columns}, DType::f32,
                          seed);
  };
  return {tensor(3, 6, 1), tensor(8, 3, 2), uniform_tensor({1, 3}, DType::f32, 3),
          tensor(3, 6, 4), tensor(8, 3, 5), uniform_tensor({1, 3}, DType::f32, 6)};
}

/// P·diag(λ)·Q − P₀·diag(λ₀)·Q₀ at one output and input.
double difference(const Factors& f, std::int64_t out, std::int64_t in) {
  const auto at = [](const Tensor& tensor, std::int64_t i) {
    return static_cast<double>(tensor.data<float>()[i]);
  };
  double sum = 0;
  for (std::int64_t r = 0; r < 3; ++r) {
    sum += at(f.p, out * 3 + r) * at(f.lambda, r) * at(f.q, r * 6 + in);
    sum -= at(f.base_p, out * 3 + r) * at(f.base_lambda, r) * at(f.base_q, r * 6 + in);
  }
  return sum;
}

/// All of it, of a linear layer [8, 6].
Matrix difference(const Factors& f) {
  return Matrix::generate(
      8, 6, [&](std::int64_t out, std::int64_t in) { return difference(f, out, in); });
}

AdapterModule lycoris(const Shape& weight, const Factors& f) {
  return AdapterModule(weight)
      .add("q_layer.weight", f.q)
      .add("p_layer.weight", f.p)
      .add("lambda_layer", f.lambda)
      .add("base_q", f.base_q)
      .add("base_p", f.base_p)
      .add("base_lambda", f.base_lambda);
}

TEST(TLora, IsTheProductWithoutTheOneThatTrainingBeganWith) {
  const Factors f = factors(false);
  const Matrix expected = difference(f);
  EXPECT_LT(relative_error(lycoris({8, 6}, f).change(1), expected), kClose);
  EXPECT_LT(relative_error(lycoris({8, 6}, f).add("alpha", 1.5F).change(-0.5F), -0.25 * expected),
            kClose);
  const auto made = lycoris({8, 6}, f).make();
  EXPECT_EQ(made.algorithm, "T-LoRA");
  EXPECT_THAT(made.delta->remark(), HasSubstr("all ranks"));
  ASSERT_NE(made.delta->thin(), nullptr);
  EXPECT_FALSE(made.delta->needs_base());
}

TEST(TLora, TheAuthorsNamesGiveTheSame) {
  const Factors f = factors(false);
  const Matrix expected = difference(f);
  const auto theirs = AdapterModule({8, 6})
                          .add("q_layer.weight", f.q)
                          .add("p_layer.weight", f.p)
                          .add("lambda_layer", f.lambda)
                          .add("base_q.weight", f.base_q)
                          .add("base_p.weight", f.base_p)
                          .add("base_lambda", f.base_lambda);
  EXPECT_LT(relative_error(theirs.change(1), expected), kClose);
}

TEST(TLora, OnAConvolutionTheTapInTheMiddleChanges) {
  const Factors f = factors(true);
  const Matrix expected = Matrix::generate(8, 54, [&](std::int64_t out, std::int64_t column) {
    return column % 9 == 4 ? difference(f, out, column / 9) : 0.0;
  });
  EXPECT_LT(relative_error(lycoris({8, 6, 3, 3}, f).change(1), expected), kClose);
}

TEST(TLora, WhatTrainingBeganWithMustBeThere) {
  const Factors f = factors(false);
  const auto [kind, text] = AdapterModule({8, 6})
                                .add("q_layer.weight", f.q)
                                .add("p_layer.weight", f.p)
                                .add("lambda_layer", f.lambda)
                                .add("alpha", 3.0F)
                                .error();
  EXPECT_EQ(kind, ErrorKind::unsupported);
  EXPECT_THAT(text, HasSubstr("not in the file"));
}

TEST(TLora, WhatDoesNotFitIsNamed) {
  Factors f = factors(false);
  EXPECT_EQ(lycoris({8, 5}, f).error().first, ErrorKind::mismatch);
  EXPECT_EQ(lycoris({7, 6}, f).error().first, ErrorKind::mismatch);
  f.lambda = uniform_tensor({1, 2}, DType::f32, 3);
  EXPECT_EQ(lycoris({8, 6}, f).error().first, ErrorKind::mismatch);
  f = factors(false);
  f.base_q = uniform_tensor({2, 6}, DType::f32, 3);
  f.base_p = uniform_tensor({8, 2}, DType::f32, 3);
  f.base_lambda = uniform_tensor({1, 2}, DType::f32, 3);
  EXPECT_EQ(lycoris({8, 6}, f).error().first, ErrorKind::mismatch);
}

}  // namespace
}  // namespace velatura::lora
