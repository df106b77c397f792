// The oracle against definitions written once more, as indices say them, and against values known
// by hand. The other backends are then compared with the oracle; goldens compare whole models.
#include "backend/reference/reference.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "ops/attention.h"
#include "ops/context.h"
#include "ops/elementwise.h"
#include "ops/kronecker.h"
#include "ops/low_rank.h"
#include "ops/norm.h"
#include "tests/support/tensors.h"

namespace velatura::backend::reference {
namespace {

using testing::uniform_tensor;
using testing::within;

/// Sums of at most some hundred values of magnitude 1.
constexpr testing::Tolerance kF32{1e-5, 0};

class ReferenceTest : public ::testing::Test {
 protected:
  std::unique_ptr<ops::OpTable> table_ = make_reference_backend();
  Workspace workspace_;
  ops::Context f32_{*table_, workspace_, DType::f32};
  ops::Context bf16_{*table_, workspace_, DType::bf16};
};

/// Element of a tensor of up to four axes.
float at(const Tensor& tensor, std::initializer_list<std::int64_t> index) {
  std::int64_t offset = 0;
  int axis = 0;
  for (const std::int64_t i : index) offset = offset * tensor.size(axis++) + i;
  return tensor.data<float>()[offset];
}

/// A tensor whose element at each index of `shape` is `value(index…)`.
template <typename Value>
Tensor generated(const Shape& shape, const Value& value) {
  Tensor tensor = Tensor::allocate(shape, DType::f32);
  float* out = tensor.mutable_data<float>();
  for (std::int64_t n = 0; n < shape[0]; ++n) {
    for (std::int64_t h = 0; h < shape[1]; ++h) {
      for (std::int64_t w = 0; w < shape[2]; ++w) {
        for (std::int64_t c = 0; c < shape[3]; ++c) *out++ = static_cast<float>(value(n, h, w, c));
      }
    }
  }
  return tensor;
}

/// The convolution as PyTorch documents it, with every index explicit.
Tensor convolved(const Tensor& x, const Tensor& weight, const ops::ConvGeometry& geometry) {
  return generated(ops::conv2d_shape(x.shape(), weight.shape(), geometry),
                   [&](std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t o) {
                     double sum = 0;
                     for (std::int64_t i = 0; i < weight.size(1); ++i) {
                       for (std::int64_t ky = 0; ky < weight.size(2); ++ky) {
                         for (std::int64_t kx = 0; kx < weight.size(3); ++kx) {
                           const std::int64_t row = h * geometry.stride + ky - geometry.pad_top;
                           const std::int64_t column = w * geometry.stride + kx - geometry.pad_left;
                           if (row < 0 || row >= x.size(1)) continue;
                           if (column < 0 || column >= x.size(2)) continue;
                           sum += static_cast<double>(at(x, {n, row, column, i})) *
                                  static_cast<double>(at(weight, {o, i, ky, kx}));
                         }
                       }
                     }
                     return sum;
                   });
}

TEST_F(ReferenceTest, Conv2dFollowsItsDefinition) {
  const Tensor x = uniform_tensor({2, 6, 5, 3}, DType::f32, 1);
  const Tensor weight = uniform_tensor({4, 3, 3, 3}, DType::f32, 2);
  for (const ops::ConvGeometry& geometry :
       {ops::ConvGeometry::same(3), ops::ConvGeometry{.stride = 2, .pad_bottom = 1, .pad_right = 1},
        ops::ConvGeometry{.stride = 3, .pad_top = 2, .pad_left = 1}}) {
    EXPECT_TRUE(within(ops::conv2d(f32_, x, ops::Weight(weight), {}, geometry),
                       convolved(x, weight, geometry), kF32));
  }
}

TEST_F(ReferenceTest, LinearIsAConvolutionOfOnePixelKernels) {
  const Tensor x = uniform_tensor({2, 3, 4, 7}, DType::f32, 1);
  const Tensor weight = uniform_tensor({5, 7}, DType::f32, 2);
  EXPECT_TRUE(within(ops::linear(f32_, x, ops::Weight(weight), {}),
                     convolved(x, weight.reshaped({5, 7, 1, 1}), {}), kF32));
}

/// activation first, residual last.
TEST_F(ReferenceTest, EpilogueHasItsOrder) {
  const Tensor x = Tensor::from(std::vector<float>{2}, {1, 1});
  const ops::Weight weight(Tensor::from(std::vector<float>{-3}, {1, 1}));
  const Tensor bias = Tensor::from(std::vector<float>{1}, {1});
  const Tensor residual = Tensor::from(std::vector<float>{10}, {1, 1});
  const ops::Epilogue epilogue{.activation = ops::Activation::leaky_relu, .residual = &residual};
  EXPECT_FLOAT_EQ(ops::linear(f32_, x, weight, bias, epilogue).floats()[0], 10 - 0.2f * 5);
}

/// y += up · diag(scales) · down · x, for the convolution with the up weight as a 1×1 kernel.
TEST_F(ReferenceTest, LowRankIsTwoProducts) {
  const ops::ConvGeometry geometry{.stride = 2, .pad_bottom = 1, .pad_right = 1};
  const Tensor x = uniform_tensor({1, 6, 7, 3}, DType::f32, 1);
  const Tensor down = uniform_tensor({4, 3, 3, 3}, DType::f32, 2);
  const Tensor up = uniform_tensor({5, 4}, DType::f32, 3);
  const Tensor scales = uniform_tensor({4}, DType::f32, 4);
  const Tensor inner = convolved(x, down, geometry);
  const Tensor scaled = generated(inner.shape(), [&](auto n, auto h, auto w, auto r) {
    return at(inner, {n, h, w, r}) * scales.floats()[static_cast<std::size_t>(r)];
  });
  const Tensor delta = convolved(scaled, up.reshaped({5, 4, 1, 1}), {});
  const Tensor before = uniform_tensor(delta.shape(), DType::f32, 5);
  Tensor y = before.clone();
  ops::low_rank_conv_update(f32_, x, ops::Weight(down), scales, ops::Weight(up), geometry, y);
  EXPECT_TRUE(within(y, ops::add(f32_, before, delta), kF32));

  const Tensor kernel = uniform_tensor({4, 3}, DType::f32, 6);
  Tensor by_rows = Tensor::zeros({1, 6, 7, 5}, DType::f32);
  Tensor by_picture = by_rows.clone();
  ops::low_rank_update(f32_, x, ops::Weight(kernel), scales, ops::Weight(up), by_rows);
  ops::low_rank_conv_update(f32_, x, ops::Weight(kernel.reshaped({4, 3, 1, 1})), scales,
                            ops::Weight(up), {}, by_picture);
  EXPECT_TRUE(within(by_rows, by_picture, kF32));
}

/// y += scale · x · (w1 ⊗ w2)ᵀ with (w1 ⊗ w2)[l·out_k + k, m·in_n + n] = w1[l, m] · w2[k, n],
/// built here as a convolution's weight.
TEST_F(ReferenceTest, KroneckerIsTheProductOfItsFactors) {
  const std::int64_t out_k = 4, in_n = 2;
  const ops::ConvGeometry geometry{.stride = 2, .pad_bottom = 1, .pad_right = 1};
  const Tensor x = uniform_tensor({2, 6, 7, 6}, DType::f32, 1);
  const Tensor w1 = uniform_tensor({5, 3}, DType::f32, 2);
  const Tensor scale = Tensor::from(std::vector<float>{-0.6f}, {1});
  for (const std::int64_t kernel : {3, 1}) {
    const Tensor w2 = uniform_tensor({out_k, in_n, kernel, kernel}, DType::f32, 3);
    const Tensor dense =
        generated({5 * out_k, 3 * in_n, kernel, kernel}, [&](auto o, auto i, auto h, auto w) {
          return scale.floats()[0] *
                 w1.floats()[static_cast<std::size_t>(o / out_k * 3 + i / in_n)] *
                 at(w2, {o % out_k, i % in_n, h, w});
        });
    const Tensor delta = convolved(x, dense, kernel == 3 ? geometry : ops::ConvGeometry{});
    const Tensor before = uniform_tensor(delta.shape(), DType::f32, 4);
    const Tensor expected = ops::add(f32_, before, delta);
    Tensor y = before.clone();
    ops::kronecker_conv_update(f32_, x, ops::Weight(w1), ops::Weight(w2), scale,
                               kernel == 3 ? geometry : ops::ConvGeometry{}, y);
    EXPECT_TRUE(within(y, expected, kF32));
    if (kernel != 1) continue;
    Tensor by_rows = before.clone();
    ops::kronecker_update(f32_, x, ops::Weight(w1), ops::Weight(w2.reshaped({out_k, in_n})), scale,
                          by_rows);
    EXPECT_TRUE(within(by_rows, expected, kF32));
  }
}

/// After normalising, each group has mean 0 and variance 1 (less what ε takes), before gain and
/// shift.
TEST_F(ReferenceTest, GroupNormNormalises) {
  const Tensor x = uniform_tensor({2, 5, 4, 6}, DType::f32, 1);
  const Tensor added = uniform_tensor({2, 6}, DType::f32, 2);
  const Tensor ones = Tensor::from(std::vector<float>(6, 1.0f), {6});
  const Tensor zeros = Tensor::zeros({6}, DType::f32);
  const Tensor y = ops::group_norm(
      f32_, x, {.gamma = ones, .beta = zeros, .groups = 3, .epsilon = 0, .channel_add = &added});
  for (std::int64_t n = 0; n < 2; ++n) {
    for (std::int64_t group = 0; group < 3; ++group) {
      double sum = 0, squares = 0;
      for (std::int64_t i = 0; i < 5 * 4 * 2; ++i) {
        const double value = at(y, {n, i / 8, i / 2 % 4, group * 2 + i % 2});
        sum += value;
        squares += value * value;
      }
      EXPECT_NEAR(sum / 40, 0, 1e-6);
      EXPECT_NEAR(squares / 40, 1, 1e-6);
    }
  }
  // The same as adding first.
  const Tensor shifted = generated(x.shape(), [&](auto n, auto h, auto w, auto c) {
    return at(x, {n, h, w, c}) + added.floats()[static_cast<std::size_t>(n * 6 + c)];
  });
  EXPECT_TRUE(within(
      y, ops::group_norm(f32_, shifted, {.gamma = ones, .beta = zeros, .groups = 3, .epsilon = 0}),
      kF32));
}

TEST_F(ReferenceTest, LayerNormIsGroupNormOfOnePixel) {
  const Tensor x = uniform_tensor({7, 12}, DType::f32, 1);
  const Tensor gamma = uniform_tensor({12}, DType::f32, 2);
  const Tensor beta = uniform_tensor({12}, DType::f32, 3);
  const Tensor y = ops::layer_norm(f32_, x, gamma, beta, 1e-5f);
  const Tensor grouped =
      ops::group_norm(f32_, x.reshaped({7, 1, 1, 12}), {.gamma = gamma, .beta = beta, .groups = 1});
  EXPECT_TRUE(within(y, grouped.reshaped({7, 12}), kF32));
}

TEST_F(ReferenceTest, AttentionFollowsItsDefinition) {
  const std::int64_t heads = 2, width = 3, queries = 5, keys = 6;
  const Tensor q = uniform_tensor({2, queries, 1, heads * width}, DType::f32, 1);
  const Tensor k = uniform_tensor({2, keys, 1, heads * width}, DType::f32, 2);
  const Tensor v = uniform_tensor({2, keys, 1, heads * width}, DType::f32, 3);
  const Shape query_shape{2, queries, heads * width}, key_shape{2, keys, heads * width};
  for (const bool causal : {false, true}) {
    const auto expected = generated(q.shape(), [&](auto n, auto i, auto, auto channel) {
      const std::int64_t first = channel / width * width;
      double sum = 0, weighted = 0;
      for (std::int64_t j = 0; j < (causal ? i + 1 : keys); ++j) {
        double score = 0;
        for (std::int64_t c = first; c < first + width; ++c) {
          score += static_cast<double>(at(q, {n, i, 0, c})) * at(k, {n, j, 0, c});
        }
        const double weight = std::exp(score / std::sqrt(3.0));
        sum += weight;
        weighted += weight * at(v, {n, j, 0, channel});
      }
      return weighted / sum;
    });
    const Tensor y = ops::attention(f32_, q.reshaped(query_shape), k.reshaped(key_shape),
                                    v.reshaped(key_shape), {.heads = 2, .causal = causal});
    EXPECT_TRUE(within(y.reshaped(q.shape()), expected, kF32));
  }
}

/// Values of PyTorch 2's functional forms, float64.
TEST_F(ReferenceTest, ActivationsHaveTheirValues) {
  const Tensor x = Tensor::from(std::vector<float>{-4, -1, 0, 0.5f, 3}, {5});
  const auto expect = [&](ops::Activation kind, const std::vector<float>& values) {
    EXPECT_TRUE(within(ops::activation(f32_, x, kind), Tensor::from(values, {5}), {1e-7, 1e-6}));
  };
  expect(ops::Activation::silu,
         {-0.07194483984836623f, -0.2689414213699951f, 0, 0.3112296656009273f, 2.8577223804673f});
  expect(ops::Activation::gelu, {-0.00012668496733247f, -0.15865525393145707f, 0,
                                 0.34573123063700656f, 2.9959503059019365f});
  expect(ops::Activation::quick_gelu, {-0.004414724139581062f, -0.1542042340671787f, 0,
                                       0.35038843660638014f, 2.981928690292214f});
  expect(ops::Activation::relu, {0, 0, 0, 0.5f, 3});
  expect(ops::Activation::leaky_relu, {-0.8f, -0.2f, 0, 0.5f, 3});
}

TEST_F(ReferenceTest, GegluTakesTheSecondHalfAsGate) {
  const Tensor x = Tensor::from(std::vector<float>{5, 7, 0, -1}, {1, 4});
  const Tensor y = ops::geglu(f32_, x);
  EXPECT_EQ(y.floats()[0], 0);
  EXPECT_FLOAT_EQ(y.floats()[1], 7 * -0.15865525393145707f);
}

TEST_F(ReferenceTest, LayoutsMoveElements) {
  const Tensor first = uniform_tensor({2, 3, 4, 5}, DType::f32, 1);
  const Tensor last = ops::nchw_to_nhwc(f32_, first);
  EXPECT_EQ(at(last, {1, 2, 3, 0}), at(first, {1, 0, 2, 3}));
  EXPECT_EQ(at(last, {0, 3, 1, 2}), at(first, {0, 2, 3, 1}));
  EXPECT_TRUE(testing::bit_identical(ops::nhwc_to_nchw(f32_, last), first));
  const Tensor larger = ops::upsample_nearest_2x(f32_, last);
  EXPECT_EQ(at(larger, {1, 5, 7, 2}), at(last, {1, 2, 3, 2}));
  const Tensor both = ops::concat_channels(f32_, last, last);
  EXPECT_EQ(at(both, {1, 3, 4, 1}), at(last, {1, 3, 4, 1}));
  EXPECT_EQ(at(both, {1, 3, 4, 5}), at(last, {1, 3, 4, 2}));
}

/// One rounding at the end: 1 + 2⁻⁸ + 2⁻⁸ is 1 + 2⁻⁷ in bf16, not 1 as after a rounding each.
TEST_F(ReferenceTest, Bf16IsRoundedOnce) {
  const Tensor x =
      from_f32(Tensor::from(std::vector<float>{1, 0x1p-8f, 0x1p-8f}, {1, 3}), DType::bf16);
  const ops::Weight ones(Tensor::from(std::vector<float>{1, 1, 1}, {1, 3}));
  EXPECT_EQ(to_f32(ops::linear(bf16_, x, ones, {})).floats()[0], 1 + 0x1p-7f);
  const Tensor residual = from_f32(Tensor::from(std::vector<float>{0x1p-8f}, {1, 1}), DType::bf16);
  const Tensor one = from_f32(Tensor::from(std::vector<float>{1}, {1, 1}), DType::bf16);
  const ops::Weight weight(Tensor::from(std::vector<float>{1 + 0x1p-8f}, {1, 1}));
  EXPECT_EQ(to_f32(ops::linear(bf16_, one, weight, {}, {.residual = &residual})).floats()[0],
            1 + 0x1p-7f);
}

}  // namespace
}  // namespace velatura::backend::reference
