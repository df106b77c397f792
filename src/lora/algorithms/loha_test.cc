#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/adapter_module.h"

namespace velatura::lora {
namespace {

using testing::AdapterModule;
using testing::cuts_like_dense;
using ::testing::HasSubstr;
using testing::Matrix;
using testing::no_base;
using testing::relative_error;
using testing::uniform_tensor;

constexpr double kClose = 1e-6;

Matrix element_product(const Matrix& a, const Matrix& b) {
  return Matrix::generate(a.rows(), a.columns(),
                          [&](std::int64_t r, std::int64_t c) { return a(r, c) * b(r, c); });
}

TEST(Loha, IsTheElementwiseProductOfTwoProducts) {
  std::uint64_t seed = 1;
  for (const Shape& weight : {Shape{9, 5}, Shape{300, 20}, Shape{6, 4, 3, 3}, Shape{6, 4, 1, 1}}) {
    for (const DType type : {DType::f32, DType::bf16}) {
      const std::int64_t rank = 3, columns = weight.count() / weight[0];
      const Tensor a1 = uniform_tensor({weight[0], rank}, type, ++seed),
                   b1 = uniform_tensor({rank, columns}, type, ++seed),
                   a2 = uniform_tensor({weight[0], rank}, type, ++seed),
                   b2 = uniform_tensor({rank, columns}, type, ++seed);
      const auto module = AdapterModule(weight)
                              .add("hada_w1_a", a1)
                              .add("hada_w1_b", b1)
                              .add("hada_w2_a", a2)
                              .add("hada_w2_b", b2)
                              .add("alpha", 6.0F);
      const Matrix delta =
          2.0 * element_product(Matrix::of(a1) * Matrix::of(b1), Matrix::of(a2) * Matrix::of(b2));
      for (const float strength : {1.0F, -1.5F})
        EXPECT_LT(relative_error(module.change(strength), static_cast<double>(strength) * delta),
                  kClose);
      EXPECT_TRUE(cuts_like_dense(module, {{2, 4}}));
      EXPECT_TRUE(cuts_like_dense(module, {{3, 6}, {0, 3}}));
      const MadeDelta made = module.make();
      EXPECT_EQ(made.delta->rank(), rank);
      EXPECT_TRUE(made.delta->is_linear());
      EXPECT_TRUE(made.unused.empty());
    }
  }
}

/// Σ_{p,q} core[p,q,y,x] · a[p,o] · b[q,i].
Matrix contracted(const Tensor& core, const Tensor& a, const Tensor& b) {
  const Matrix t = Matrix::of(core), wa = Matrix::of(a), wb = Matrix::of(b);
  const std::int64_t kernel = core.size(2) * core.size(3);
  return Matrix::generate(wa.columns(), wb.columns() * kernel, [&](std::int64_t o, std::int64_t c) {
    double sum = 0;
    for (std::int64_t p = 0; p < wa.rows(); ++p) {
      for (std::int64_t q = 0; q < wb.rows(); ++q)
        sum += t(p, q * kernel + c % kernel) * wa(p, o) * wb(q, c / kernel);
    }
    return sum;
  });
}

AdapterModule tucker_module(const Shape& weight, std::int64_t rank, const Shape& core) {
  return AdapterModule(weight)
      .add("hada_w1_a", uniform_tensor({rank, weight[0]}, DType::f16, 1))
      .add("hada_w1_b", uniform_tensor({rank, weight[1]}, DType::f16, 2))
      .add("hada_w2_a", uniform_tensor({rank, weight[0]}, DType::f16, 3))
      .add("hada_w2_b", uniform_tensor({rank, weight[1]}, DType::f16, 4))
      .add("hada_t1", uniform_tensor(core, DType::f16, 5))
      .add("hada_t2", uniform_tensor(core, DType::f16, 6));
}

TEST(Loha, TuckerFormContractsThroughCores) {
  // Square in every way: the storage cannot be told by its shapes.
  for (const Shape& weight : {Shape{6, 4, 3, 3}, Shape{3, 3, 3, 3}}) {
    const Shape core{3, 3, 3, 3};
    const auto module = tucker_module(weight, 3, core);
    const auto half = [&](std::uint64_t a, std::uint64_t b, std::uint64_t t) {
      return contracted(uniform_tensor(core, DType::f16, t),
                        uniform_tensor({3, weight[0]}, DType::f16, a),
                        uniform_tensor({3, weight[1]}, DType::f16, b));
    };
    const Matrix delta = element_product(half(1, 2, 5), half(3, 4, 6));
    EXPECT_LT(relative_error(module.change(-0.5F), -0.5 * delta), kClose);
    EXPECT_TRUE(cuts_like_dense(module, {{2, 3}, {0, 2}}));
    EXPECT_EQ(module.make().delta->rank(), 3);
  }
}

TEST(Loha, AlphaOfZeroHasNoEffect) {
  EXPECT_TRUE(
      tucker_module({6, 4, 3, 3}, 2, {2, 2, 3, 3}).add("alpha", 0.0F).make().delta->is_zero());
}

TEST(Loha, RefusesWhatDoesNotFit) {
  const auto plain = [](const Shape& a1, const Shape& b1) {
    return AdapterModule({9, 5})
        .add("hada_w1_a", uniform_tensor(a1, DType::f32, 1))
        .add("hada_w1_b", uniform_tensor(b1, DType::f32, 2))
        .add("hada_w2_a", uniform_tensor({9, 3}, DType::f32, 3))
        .add("hada_w2_b", uniform_tensor({3, 5}, DType::f32, 4));
  };
  EXPECT_THAT(plain({9, 3}, {3, 6}).error().second, HasSubstr("[3, 6]"));
  EXPECT_EQ(plain({8, 3}, {3, 5}).error().first, ErrorKind::mismatch);
  EXPECT_EQ(plain({9, 2}, {3, 5}).error().first, ErrorKind::mismatch);
  EXPECT_EQ(plain({9, 0}, {0, 5}).error().first, ErrorKind::mismatch);
  EXPECT_EQ(plain({9, 3}, {15}).error().first, ErrorKind::mismatch);
  EXPECT_EQ(plain({9, 3}, {3, 5})
                .add("hada_t1", uniform_tensor({3, 3, 1, 1}, DType::f32, 1))
                .error()
                .first,
            ErrorKind::mismatch);
  EXPECT_EQ(tucker_module({6, 4, 3, 3}, 2, {2, 2, 3, 1}).error().first, ErrorKind::mismatch);
  EXPECT_EQ(tucker_module({6, 4, 3, 3}, 2, {2, 3, 3, 3}).error().first, ErrorKind::mismatch);
}

TEST(Loha, HalfOfItIsNoModule) {
  const auto made =
      AdapterModule({9, 5}).add("hada_w1_a", uniform_tensor({9, 3}, DType::f32, 1)).make();
  EXPECT_EQ(made.delta, nullptr);
  EXPECT_EQ(made.unused, std::vector{Role::hada_w1_a});
}

}  // namespace
}  // namespace velatura::lora
