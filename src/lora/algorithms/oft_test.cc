#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/adapter_module.h"

// The formulas of lora-formats §1.10 in double, beside what the library makes of the same tensors.
namespace velatura::lora {
namespace {

using testing::AdapterModule;
using testing::Matrix;
using testing::relative_error;
using testing::uniform_tensor;

constexpr double kClose = 1e-6;
constexpr float kStrengths[] = {1, 0.5F, -0.7F, 3};

/// Block `index` of [n, b, b] from a tensor of blocks.
Matrix block_of(const Tensor& blocks, std::int64_t index) {
  const std::int64_t b = blocks.size(-1), count = blocks.count() / (b * b);
  return Matrix::of(blocks, count * b, b).block(index * b, 0, b, b);
}

Matrix skew(const Matrix& block) {
  return block - block.transposed();
}

/// Over all blocks together.
double skew_norm(const Tensor& blocks) {
  double sum = 0;
  const std::int64_t b = blocks.size(-1);
  for (std::int64_t d = 0; d < blocks.count() / (b * b); ++d) {
    const double norm = skew(block_of(blocks, d)).norm();
    sum += norm * norm;
  }
  return std::sqrt(sum);
}

double held(double norm, double limit) {
  return (std::min(norm, limit) + 1e-8) / (norm + 1e-8);
}

Matrix cayley(const Matrix& q) {
  const Matrix one = Matrix::identity(q.rows());
  return (one + q) * (one - q).inverse();
}

/// m(R − I) + I.
Matrix weighted(const Matrix& rotation, double strength) {
  const Matrix one = Matrix::identity(rotation.rows());
  return strength * (rotation - one) + one;
}

/// Rows of `weight` from `first` on turned by Rᵀ of every block: W'[k,m] = Σ_n R[k,n,m] · W[k,n].
void turn_rows(Matrix& weight, std::int64_t first, const Tensor& blocks, double scale,
               double strength) {
  const std::int64_t b = blocks.size(-1);
  for (std::int64_t k = 0; k < blocks.size(0); ++k) {
    const Matrix r = weighted(cayley(scale * skew(block_of(blocks, k))), strength);
    const Matrix turned = r.transposed() * weight.block(first + k * b, 0, b, weight.columns());
    for (std::int64_t i = 0; i < b; ++i) {
      for (std::int64_t c = 0; c < weight.columns(); ++c)
        weight(first + k * b + i, c) = turned(i, c);
    }
  }
}

void rescale_rows(Matrix& weight, const Tensor& rescale, double strength) {
  for (std::int64_t o = 0; o < weight.rows(); ++o) {
    const double s = rescale.data<float>()[o];
    for (std::int64_t c = 0; c < weight.columns(); ++c) weight(o, c) *= 1 + strength * (s - 1);
  }
}

TEST(Oft, TurnsRowsOfLinearLayersAndConvolutions) {
  for (const Shape& shape : {Shape{12, 7}, Shape{12, 5, 3, 3}, Shape{12, 130}}) {
    for (const Shape& blocks :
         {Shape{3, 4, 4}, Shape{1, 12, 12}, Shape{12, 1, 1}, Shape{4, 3, 3}}) {
      const Tensor stored = uniform_tensor(blocks, DType::f32, 5);
      const AdapterModule module =
          AdapterModule(shape).add("oft_blocks", stored).add("alpha", 0.0F);
      for (const float strength : kStrengths) {
        const Matrix weight = Matrix::of(module.weight());
        Matrix turned = weight;
        turn_rows(turned, 0, stored, 1, strength);
        if (blocks[2] == 1) {
          EXPECT_EQ((Matrix::of(module.change(strength))).norm(), 0);
          continue;
        }
        EXPECT_LT(relative_error(module.change(strength), turned - weight), kClose)
            << shape.to_string() << blocks.to_string() << strength;
      }
      EXPECT_EQ(module.make().delta->rank(), blocks[0]);
      EXPECT_TRUE(module.make().delta->is_linear());
      EXPECT_TRUE(module.make().delta->needs_base());
    }
  }
}

TEST(Oft, BlocksBeyondAPanelAreSolved) {
  const Tensor stored = uniform_tensor({2, 75, 75}, DType::f32, 5);
  const AdapterModule module = AdapterModule({150, 9}).add("oft_blocks", stored);
  const Matrix weight = Matrix::of(module.weight());
  Matrix turned = weight;
  turn_rows(turned, 0, stored, 1, 1);
  EXPECT_LT(relative_error(module.change(1), turned - weight), kClose);
}

TEST(Oft, ASmallRotationKeepsItsDigits) {
  Tensor stored = uniform_tensor({3, 4, 4}, DType::f32, 5);
  for (float& value : stored.mutable_floats()) value *= 1e-6F;
  const AdapterModule module = AdapterModule({12, 40}).add("oft_blocks", stored);
  const Matrix weight = Matrix::of(module.weight());
  Matrix turned = weight;
  turn_rows(turned, 0, stored, 1, 0.5);
  EXPECT_LT(relative_error(module.change(0.5F), turned - weight), kClose);
}

TEST(Oft, AHugeRotationStaysARotation) {
  Tensor stored = uniform_tensor({1, 40, 40}, DType::f32, 5);
  for (float& value : stored.mutable_floats()) value *= 1e30F;
  const AdapterModule module = AdapterModule({40, 3}).add("oft_blocks", stored);
  const Matrix change = Matrix::of(module.change(1)), weight = Matrix::of(module.weight());
  EXPECT_NEAR((weight + change).norm() / weight.norm(), 1, 1e-5);
}

TEST(Oft, TheConstraintHoldsAllBlocksTogether) {
  const Tensor stored = uniform_tensor({3, 4, 4}, DType::f32, 6);
  const double norm = skew_norm(stored);
  for (const double alpha : {1e-3, 0.9 * norm / 12, 2 * norm / 12}) {
    for (const char* name : {"lora_unet_x", "oft_unet_x"}) {
      const AdapterModule module = AdapterModule({12, 7})
                                       .named(name)
                                       .add("oft_blocks", stored)
                                       .add("alpha", static_cast<float>(alpha));
      const Matrix weight = Matrix::of(module.weight());
      Matrix turned = weight;
      turn_rows(turned, 0, stored, held(norm, static_cast<float>(alpha) * 12.0), 0.5);
      EXPECT_LT(relative_error(module.change(0.5F), turned - weight), kClose) << alpha << name;
    }
  }
}

TEST(Oft, AlphaZeroIsNoRotationInKohyasFilesAndNoConstraintInLycoris) {
  const Tensor stored = uniform_tensor({3, 4, 4}, DType::f32, 6);
  const auto module = [&](const char* name) {
    return AdapterModule({12, 7}).named(name).add("oft_blocks", stored).add("alpha", 0.0F).make();
  };
  EXPECT_TRUE(module("oft_unet_x").delta->is_zero());
  EXPECT_FALSE(module("lora_unet_x").delta->is_zero());
}

TEST(Oft, RescaleGrowsRowsAfterTheRotation) {
  for (const Shape& shape : {Shape{12, 7}, Shape{12, 5, 3, 3}}) {
    const Tensor stored = uniform_tensor({3, 4, 4}, DType::f32, 5);
    const Tensor rescale =
        uniform_tensor(shape.rank() == 4 ? Shape{12, 1, 1, 1} : Shape{12, 1}, DType::f32, 8);
    const AdapterModule module =
        AdapterModule(shape).add("oft_blocks", stored).add("rescale", rescale);
    EXPECT_FALSE(module.make().delta->is_linear());
    for (const float strength : kStrengths) {
      const Matrix weight = Matrix::of(module.weight());
      Matrix turned = weight;
      turn_rows(turned, 0, stored, 1, strength);
      rescale_rows(turned, rescale, strength);
      EXPECT_LT(relative_error(module.change(strength), turned - weight), kClose) << strength;
    }
  }
}

TEST(Oft, DiagonalBlocksAreRotationsAsStored) {
  // A1111: the blocks are R, neither made skew nor transformed, and alpha is of no use.
  for (const Shape& shape : {Shape{12, 7}, Shape{12, 5, 3, 3}}) {
    const Tensor stored = uniform_tensor({3, 4, 4}, DType::f32, 5);
    const AdapterModule module = AdapterModule(shape).add("oft_diag", stored).add("alpha", 1e-3F);
    for (const float strength : kStrengths) {
      const Matrix weight = Matrix::of(module.weight());
      Matrix turned = weight;
      for (std::int64_t k = 0; k < 3; ++k) {
        const Matrix r = weighted(block_of(stored, k), strength);
        for (std::int64_t m = 0; m < 4; ++m) {
          for (std::int64_t c = 0; c < weight.columns(); ++c) {
            double sum = 0;
            for (std::int64_t n = 0; n < 4; ++n) sum += r(n, m) * weight(k * 4 + n, c);
            turned(k * 4 + m, c) = sum;
          }
        }
      }
      EXPECT_LT(relative_error(module.change(strength), turned - weight), kClose) << strength;
    }
  }
}

TEST(Oft, ListsTurnTheSlicesOfAFusedLayer) {
  // Slices of unequal heights, as linear1 of FLUX; the constraint is each slice's own.
  const Tensor first = uniform_tensor({2, 3, 3}, DType::f32, 5),
               second = uniform_tensor({2, 3, 3}, DType::f32, 6),
               third = uniform_tensor({2, 10, 10}, DType::f32, 7);
  constexpr float kAlpha = 0.25F;
  const AdapterModule module = AdapterModule({32, 9})
                                   .named("oft_unet_single_blocks_0_linear1")
                                   .add("oft_blocks.1", second)
                                   .add("oft_blocks.0", first)
                                   .add("oft_blocks.2", third)
                                   .add("alpha", kAlpha);
  for (const float strength : kStrengths) {
    const Matrix weight = Matrix::of(module.weight());
    Matrix turned = weight;
    turn_rows(turned, 0, first, held(skew_norm(first), kAlpha * 6), strength);
    turn_rows(turned, 6, second, held(skew_norm(second), kAlpha * 6), strength);
    turn_rows(turned, 12, third, held(skew_norm(third), kAlpha * 20), strength);
    EXPECT_LT(relative_error(module.change(strength), turned - weight), kClose) << strength;
  }
  EXPECT_TRUE(module.make().delta->is_linear());
}

/// One factor of a butterfly: rows read as (c, g, q) are rearranged to (c, q, g), consecutive
/// blocks of b multiplied by R, and the rearrangement undone.
Matrix butterfly(const Matrix& weight, const Tensor& blocks, std::int64_t factor, double scale,
                 double strength) {
  const std::int64_t b = blocks.size(-1), n = blocks.size(1),
                     half = (std::int64_t{1} << factor) * b / 2;
  std::vector<std::int64_t> from;  // the row at each rearranged position
  for (std::int64_t c = 0; c < weight.rows() / (2 * half); ++c) {
    for (std::int64_t q = 0; q < half; ++q) {
      for (std::int64_t g = 0; g < 2; ++g) from.push_back((c * 2 + g) * half + q);
    }
  }
  Matrix result = weight;
  for (std::int64_t d = 0; d < n; ++d) {
    const Matrix r = weighted(cayley(scale * skew(block_of(blocks, factor * n + d))), strength);
    for (std::int64_t i = 0; i < b; ++i) {
      for (std::int64_t col = 0; col < weight.columns(); ++col) {
        double sum = 0;
        for (std::int64_t j = 0; j < b; ++j)
          sum += r(i, j) * weight(from[static_cast<std::size_t>(d * b + j)], col);
        result(from[static_cast<std::size_t>(d * b + i)], col) = sum;
      }
    }
  }
  return result;
}

TEST(Boft, EveryFactorHasTheStrengthAndRescaleFollows) {
  struct Case {
    Shape weight, blocks;
    double alpha;
    bool is_rescaled;
  };
  const Case cases[] = {
      {{16, 7}, {2, 4, 4, 4}, 0, false},      {{16, 7}, {3, 4, 4, 4}, 0, true},
      {{24, 5, 3, 3}, {3, 4, 6, 6}, 0, true}, {{16, 7}, {2, 8, 2, 2}, 0.1, false},
      {{16, 7}, {1, 4, 4, 4}, 0, false},      {{16, 5, 3, 3}, {4, 8, 2, 2}, 0.05, true}};
  for (const Case& c : cases) {
    const Tensor stored = uniform_tensor(c.blocks, DType::f32, 5);
    const Tensor rescale = uniform_tensor({c.weight[0], 1}, DType::f32, 8);
    AdapterModule module =
        AdapterModule(c.weight).add("oft_blocks", stored).add("alpha", static_cast<float>(c.alpha));
    if (c.is_rescaled) module.add("rescale", rescale);
    EXPECT_EQ(module.make().delta->is_linear(), c.blocks[0] == 1 && !c.is_rescaled);
    const double limit = static_cast<float>(c.alpha) * static_cast<double>(c.weight[0]);
    const double scale = c.alpha > 0 ? held(skew_norm(stored), limit) : 1;
    for (const float strength : kStrengths) {
      const Matrix weight = Matrix::of(module.weight());
      Matrix turned = weight;
      for (std::int64_t factor = 0; factor < c.blocks[0]; ++factor)
        turned = butterfly(turned, stored, factor, scale, strength);
      if (c.is_rescaled) rescale_rows(turned, rescale, strength);
      EXPECT_LT(relative_error(module.change(strength), turned - weight), kClose)
          << c.blocks.to_string() << strength;
    }
  }
}

TEST(Oft, ZeroIsSeen) {
  const auto is_zero = [](AdapterModule module) { return module.make().delta->is_zero(); };
  const Tensor none = Tensor::zeros({3, 4, 4}, DType::f32);
  EXPECT_TRUE(is_zero(AdapterModule({12, 7}).add("oft_blocks", none)));
  const Tensor ones = Tensor::from(std::vector<float>(12, 1.0F), {12, 1});
  EXPECT_TRUE(is_zero(AdapterModule({12, 7}).add("oft_blocks", none).add("rescale", ones)));
  const Tensor twos = Tensor::from(std::vector<float>(12, 2.0F), {12, 1});
  EXPECT_FALSE(is_zero(AdapterModule({12, 7}).add("oft_blocks", none).add("rescale", twos)));
}

TEST(Oft, WhatDoesNotFitIsNamed) {
  const auto message = [](AdapterModule module, ErrorKind kind) {
    const auto [actual, text] = module.error();
    EXPECT_EQ(actual, kind) << text;
    return text;
  };
  const auto blocks = [](const Shape& shape) { return uniform_tensor(shape, DType::f32, 1); };
  using ::testing::HasSubstr;
  for (const Shape& shape : {Shape{2, 4, 4}, Shape{4, 4, 4}, Shape{3, 4, 5}, Shape{12, 4},
                             Shape{12}, Shape{0, 4, 4}, Shape{3, 0, 0}, Shape{1, 1, 3, 4, 4}}) {
    EXPECT_THAT(
        message(AdapterModule({12, 7}).add("oft_blocks", blocks(shape)), ErrorKind::mismatch),
        HasSubstr(shape.to_string()));
  }
  EXPECT_THAT(
      message(AdapterModule({12, 7}).add("oft_blocks", blocks({2, 4, 3, 3})), ErrorKind::mismatch),
      HasSubstr("an even number"));
  EXPECT_THAT(
      message(AdapterModule({12, 7}).add("oft_blocks", blocks({3, 3, 4, 4})), ErrorKind::mismatch),
      HasSubstr("groups of 8 rows"));
  EXPECT_THAT(
      message(AdapterModule({12, 7}).add("oft_blocks", blocks({0, 3, 4, 4})), ErrorKind::mismatch),
      HasSubstr("butterfly"));
  EXPECT_THAT(
      message(AdapterModule({12, 7}).add("oft_blocks.0", blocks({2, 4, 4})), ErrorKind::mismatch),
      HasSubstr("8 rows together"));
  EXPECT_THAT(message(AdapterModule({12, 7})
                          .add("oft_blocks.0", blocks({2, 4, 4}))
                          .add("oft_blocks.2", blocks({1, 4, 4})),
                      ErrorKind::mismatch),
              HasSubstr("no oft_blocks.1"));
  EXPECT_THAT(message(AdapterModule({12, 7})
                          .add("oft_blocks.0", blocks({2, 4, 4}))
                          .add("oft_blocks.1", blocks({2, 4, 4})),
                      ErrorKind::mismatch),
              HasSubstr("4 rows"));
  EXPECT_THAT(
      message(
          AdapterModule({12, 7}).add("oft_blocks", blocks({3, 4, 4})).add("rescale", blocks({7})),
          ErrorKind::mismatch),
      HasSubstr("rescale [7]"));
  Tensor broken = blocks({3, 4, 4});
  broken.mutable_floats()[5] = NAN;
  EXPECT_THAT(message(AdapterModule({12, 7}).add("oft_blocks", broken), ErrorKind::bad_file),
              HasSubstr("NaN"));
}

}  // namespace
}  // namespace velatura::lora
