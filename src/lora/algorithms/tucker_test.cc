#include <gtest/gtest.h>

#include "tests/support/adapter_module.h"

namespace velatura::lora {
namespace {

using testing::AdapterModule;
using testing::cuts_like_dense;
using testing::Matrix;
using testing::relative_error;
using testing::uniform_tensor;

/// Σ_{p,q} up[o,p] · mid[p,q,y,x] · down[q,i].
Matrix contracted(const Tensor& up, const Tensor& mid, const Tensor& down) {
  const Matrix b = Matrix::of(up), m = Matrix::of(mid), a = Matrix::of(down);
  const std::int64_t kernel = mid.size(2) * mid.size(3);
  return Matrix::generate(b.rows(), a.columns() * kernel, [&](std::int64_t o, std::int64_t column) {
    double sum = 0;
    for (std::int64_t p = 0; p < b.columns(); ++p) {
      for (std::int64_t q = 0; q < a.rows(); ++q)
        sum += b(o, p) * m(p, q * kernel + column % kernel) * a(q, column / kernel);
    }
    return sum;
  });
}

AdapterModule module_of(const Shape& weight, const Shape& down, const Shape& mid, const Shape& up) {
  return AdapterModule(weight)
      .add("lora_down.weight", uniform_tensor(down, DType::f16, 1))
      .add("lora_mid.weight", uniform_tensor(mid, DType::f32, 2))
      .add("lora_up.weight", uniform_tensor(up, DType::bf16, 3))
      .add("alpha", 1.5F);
}

TEST(Tucker, IsTheContractionThroughTheCore) {
  for (const Shape& weight : {Shape{8, 6, 3, 3}, Shape{8, 5, 1, 3}, Shape{8, 7, 1, 1}}) {
    const Shape mid{3, 3, weight[2], weight[3]};
    const auto module = module_of(weight, {3, weight[1], 1, 1}, mid, {8, 3, 1, 1});
    const MadeDelta made = module.make();
    EXPECT_EQ(made.algorithm, "Tucker LoCon");
    EXPECT_EQ(made.delta->rank(), 3);
    const TuckerFactors& live = *made.delta->tucker();
    EXPECT_EQ(live.down->shape(), (Shape{3, weight[1], 1, 1}));
    EXPECT_EQ(live.up->shape(), (Shape{8, 3}));
    EXPECT_EQ(live.scale, 0.5F);
    const Matrix delta =
        0.5 * contracted(uniform_tensor({8, 3}, DType::bf16, 3), uniform_tensor(mid, DType::f32, 2),
                         uniform_tensor({3, weight[1]}, DType::f16, 1));
    for (const float strength : {1.0F, -0.25F})
      EXPECT_LT(relative_error(module.change(strength), static_cast<double>(strength) * delta),
                1e-6);
    EXPECT_TRUE(cuts_like_dense(module, {{2, 5}}));
    EXPECT_TRUE(cuts_like_dense(module, {{4, 8}, {0, 4}}));
  }
}

TEST(Tucker, OnALinearLayerHasNoLiveForm) {
  const auto module = module_of({8, 6}, {3, 6}, {3, 3, 1, 1}, {8, 3});
  EXPECT_EQ(module.make().delta->tucker(), nullptr);
  EXPECT_EQ(module.change(1).shape(), (Shape{8, 6}));
}

TEST(Tucker, RefusesWhatDoesNotFit) {
  const auto is_refused = [](const Shape& down, const Shape& mid, const Shape& up) {
    return module_of({8, 6, 3, 3}, down, mid, up).error().first == ErrorKind::mismatch;
  };
  EXPECT_TRUE(is_refused({3, 5, 1, 1}, {3, 3, 3, 3}, {8, 3, 1, 1}));
  EXPECT_TRUE(is_refused({3, 6, 1, 1}, {3, 3, 3, 2}, {8, 3, 1, 1}));
  EXPECT_TRUE(is_refused({3, 6, 1, 1}, {3, 3, 9}, {8, 3, 1, 1}));
  EXPECT_TRUE(is_refused({3, 6, 1, 1}, {3, 4, 3, 3}, {8, 3, 1, 1}));
  EXPECT_TRUE(is_refused({3, 6, 1, 1}, {3, 3, 3, 3}, {7, 3, 1, 1}));
  EXPECT_TRUE(is_refused({0, 6, 1, 1}, {0, 0, 3, 3}, {8, 0, 1, 1}));
  EXPECT_TRUE(is_refused({1, 6, 1, 1}, {100, 1, 3, 3}, {8, 100, 1, 1}))
      << "what it makes is bounded";
}

}  // namespace
}  // namespace velatura::lora
