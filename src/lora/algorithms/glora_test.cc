#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/adapter_module.h"

namespace velatura::lora {
namespace {

using testing::AdapterModule;
using testing::Matrix;
using testing::relative_error;
using testing::uniform_tensor;

constexpr double kClose = 1e-6;

/// Σ_i W[o, i, y, x] · m[i, j], W folded to [out, in · kernel].
Matrix contract_channels(const Matrix& weight, const Matrix& m, std::int64_t kernel) {
  return Matrix::generate(
      weight.rows(), weight.columns(), [&](std::int64_t o, std::int64_t column) {
        double sum = 0;
        for (std::int64_t i = 0; i < m.rows(); ++i)
          sum += weight(o, i * kernel + column % kernel) * m(i, column / kernel);
        return sum;
      });
}

struct Pieces {
  Tensor to_rank, from_rank, up, down;
};

Pieces pieces(const Shape& weight, std::int64_t rank, std::int64_t width, DType type = DType::f32) {
  return {uniform_tensor({weight[1], rank}, type, 11), uniform_tensor({rank, weight[1]}, type, 12),
          uniform_tensor({weight[0], rank}, type, 13), uniform_tensor({rank, width}, type, 14)};
}

AdapterModule current(const Shape& weight, const Pieces& p) {
  return AdapterModule(weight)
      .add("a1.weight", p.to_rank)
      .add("a2.weight", p.from_rank)
      .add("b1.weight", p.up)
      .add("b2.weight", p.down);
}
AdapterModule old(const Shape& weight, const Pieces& p) {
  return AdapterModule(weight)
      .add("a2.weight", p.to_rank)
      .add("a1.weight", p.from_rank)
      .add("b2.weight", p.up)
      .add("b1.weight", p.down);
}

void expect_change(const AdapterModule& module, const Pieces& p, const Matrix& pair, double scale) {
  const Matrix weight = Matrix::of(module.weight());
  const std::int64_t kernel = weight.columns() / module.weight().size(1);
  const Matrix delta =
      scale *
      (contract_channels(weight, Matrix::of(p.to_rank) * Matrix::of(p.from_rank), kernel) + pair);
  for (const float strength : {1.0F, 0.5F, -0.7F})
    EXPECT_LT(relative_error(module.change(strength), static_cast<double>(strength) * delta),
              kClose);
  EXPECT_TRUE(module.make().delta->is_linear());
  EXPECT_TRUE(module.make().delta->needs_base());
  EXPECT_EQ(module.make().delta->rank(), p.up.size(1));
}

TEST(Glora, BothGenerationsOnLinearLayersAndConvolutions) {
  for (const Shape& shape : {Shape{9, 14}, Shape{14, 14}, Shape{9, 6, 3, 3}, Shape{6, 6, 1, 1}}) {
    const Pieces p = pieces(shape, 3, shape.count() / shape[0], DType::f16);
    const Matrix pair = Matrix::of(p.up) * Matrix::of(p.down);
    expect_change(current(shape, p), p, pair, 1);
    expect_change(old(shape, p), p, pair, 1);
    expect_change(current(shape, p).add("alpha", 1.5F), p, pair, 0.5);
    expect_change(old(shape, p).add("alpha", 1.5F), p, pair, 0.5);
  }
}

TEST(Glora, WhereNothingTellsThemApartTheOlderIsMeant) {
  const Shape shape{5, 5};
  const Pieces p = pieces(shape, 5, 5);
  expect_change(old(shape, p), p, Matrix::of(p.up) * Matrix::of(p.down), 1);
}

TEST(Glora, ACoreOfConvolutions) {
  const Shape shape{9, 6, 3, 2};
  const Pieces p = pieces(shape, 4, 6);
  const Tensor core = uniform_tensor({4, 4, 3, 2}, DType::f32, 15);
  // Σ_{p,q} up[o, p] · core[p, q, y, x] · down[q, i]
  const Matrix pair = Matrix::generate(9, 36, [&](std::int64_t o, std::int64_t column) {
    double sum = 0;
    for (std::int64_t a = 0; a < 4; ++a) {
      for (std::int64_t b = 0; b < 4; ++b) {
        sum += static_cast<double>(p.up.data<float>()[o * 4 + a]) *
               core.data<float>()[(a * 4 + b) * 6 + column % 6] *
               p.down.data<float>()[b * 6 + column / 6];
      }
    }
    return sum;
  });
  expect_change(current(shape, p).add("bm.weight", core), p, pair, 1);
  expect_change(old(shape, p).add("bm.weight", core).add("alpha", 8.0F), p, pair, 2);
}

TEST(Glora, WhatDoesNotFitIsNamed) {
  using ::testing::HasSubstr;
  const Shape shape{9, 14};
  Pieces p = pieces(shape, 3, 14);
  p.up = uniform_tensor({9, 2}, DType::f32, 1);
  auto [kind, text] = current(shape, p).error();
  EXPECT_EQ(kind, ErrorKind::mismatch);
  EXPECT_THAT(text, HasSubstr("b1 [9, 2]"));
  std::tie(kind, text) = current(shape, pieces({9, 13}, 3, 13)).error();
  EXPECT_EQ(kind, ErrorKind::mismatch);
  std::tie(kind, text) = current(shape, pieces(shape, 0, 14)).error();
  EXPECT_EQ(kind, ErrorKind::mismatch);
  const Shape conv{9, 6, 3, 3};
  std::tie(kind, text) = current(conv, pieces(conv, 4, 6))
                             .add("bm.weight", uniform_tensor({4, 4, 2, 3}, DType::f32, 1))
                             .error();
  EXPECT_EQ(kind, ErrorKind::mismatch);
  EXPECT_THAT(text, HasSubstr("core [4, 4, 2, 3]"));
}

}  // namespace
}  // namespace velatura::lora
