// What the free functions refuse before a backend is asked, and the shapes they answer with.
#include <gtest/gtest.h>

#include <functional>

#include "backend/reference/reference.h"
#include "ops/attention.h"
#include "ops/context.h"
#include "ops/elementwise.h"
#include "ops/kronecker.h"
#include "ops/low_rank.h"
#include "ops/norm.h"
#include "velatura/error.h"

namespace velatura::ops {
namespace {

class OpsTest : public ::testing::Test {
 protected:
  Tensor zeros(const Shape& shape, DType type = DType::f32) { return Tensor::zeros(shape, type); }

  /// `call` throws an Error of this kind whose message contains `words`.
  void expect_error(ErrorKind kind, std::string_view words, const std::function<void()>& call) {
    try {
      call();
      ADD_FAILURE() << "no error; expected one that says: " << words;
    } catch (const Error& error) {
      EXPECT_EQ(to_string(error.kind()), to_string(kind)) << error.what();
      EXPECT_NE(std::string_view(error.what()).find(words), std::string_view::npos) << error.what();
    }
  }

  std::unique_ptr<OpTable> table_ = backend::reference::make_reference_backend();
  Workspace workspace_;
  Context context_{*table_, workspace_, DType::f32};
};

TEST_F(OpsTest, LinearChecksItsArguments) {
  const Weight weight(zeros({5, 3}));
  EXPECT_EQ(linear(context_, zeros({2, 4, 3}), weight, {}).shape(), (Shape{2, 4, 5}));
  EXPECT_EQ(linear(context_, zeros({0, 3}), weight, {}).shape(), (Shape{0, 5}));
  expect_error(ErrorKind::mismatch, "[2, 4] does not fit weight [5, 3]", [&] {
    linear(context_, zeros({2, 4}), weight, {});
  });
  expect_error(ErrorKind::mismatch, "does not fit weight",
               [&] { linear(context_, Tensor(), weight, {}); });
  expect_error(ErrorKind::mismatch, "does not fit weight", [&] {
    linear(context_, zeros({2, 3}), Weight(zeros({5, 3, 1, 1})), {});
  });
  expect_error(ErrorKind::unsupported, "found f16", [&] {
    linear(context_, zeros({2, 3}, DType::f16), weight, {});
  });
  expect_error(ErrorKind::mismatch, "bias has shape [4], expected [5]", [&] {
    linear(context_, zeros({2, 3}), weight, zeros({4}));
  });
  expect_error(ErrorKind::internal, "bias must be f32", [&] {
    linear(context_, zeros({2, 3}), weight, zeros({5}, DType::f16));
  });
  const Tensor residual = zeros({2, 3});
  expect_error(ErrorKind::mismatch, "residual", [&] {
    linear(context_, zeros({2, 3}), weight, {}, {.residual = &residual});
  });
  const Tensor other_type = zeros({2, 5}, DType::bf16);
  expect_error(ErrorKind::internal, "residual is bf16, expected f32", [&] {
    linear(context_, zeros({2, 3}), weight, {}, {.residual = &other_type});
  });
}

TEST_F(OpsTest, Conv2dChecksItsArguments) {
  const Weight weight(zeros({8, 4, 3, 3}));
  const ConvGeometry same = ConvGeometry::same(3);
  EXPECT_EQ(conv2d(context_, zeros({2, 5, 6, 4}), weight, {}, same).shape(), (Shape{2, 5, 6, 8}));
  EXPECT_EQ(
      conv2d_shape({1, 8, 9, 4}, weight.shape(), {.stride = 2, .pad_bottom = 1, .pad_right = 1}),
      (Shape{1, 4, 4, 8}));
  EXPECT_EQ(conv2d_shape({1, 8, 9, 4}, weight.shape(), {}), (Shape{1, 6, 7, 8}));
  expect_error(ErrorKind::mismatch, "channels last", [&] {
    conv2d(context_, zeros({2, 4, 5, 6}), weight, {}, same);
  });
  expect_error(ErrorKind::mismatch, "smaller than the kernel", [&] {
    conv2d(context_, zeros({1, 2, 9, 4}), weight, {}, {});
  });
  expect_error(ErrorKind::mismatch, "stride 0", [&] {
    conv2d(context_, zeros({1, 9, 9, 4}), weight, {}, {.stride = 0});
  });
  expect_error(ErrorKind::mismatch, "padding -1", [&] {
    conv2d(context_, zeros({1, 9, 9, 4}), weight, {}, {.pad_top = -1});
  });
  expect_error(ErrorKind::mismatch, "does not fit weight", [&] {
    conv2d(context_, zeros({9, 9, 4}), weight, {}, same);
  });
  expect_error(ErrorKind::mismatch, "bias", [&] {
    conv2d(context_, zeros({1, 9, 9, 4}), weight, zeros({4}), same);
  });
}

TEST_F(OpsTest, LowRankChecksItsArguments) {
  const Weight down(zeros({2, 3})), up(zeros({5, 2}));
  const Tensor x = zeros({4, 3}), scales = zeros({2});
  Tensor y = zeros({4, 5});
  low_rank_update(context_, x, down, scales, up, y);
  expect_error(ErrorKind::mismatch, "do not fit a layer of 3 inputs and 5 outputs",
               [&] { low_rank_update(context_, x, up, scales, down, y); });
  expect_error(ErrorKind::mismatch, "do not fit", [&] {
    low_rank_update(context_, x, Weight(zeros({2, 3, 1, 1})), scales, up, y);
  });
  expect_error(ErrorKind::mismatch, "scales has shape [3], expected [2]",
               [&] { low_rank_update(context_, x, down, zeros({3}), up, y); });
  expect_error(ErrorKind::internal, "scales is missing",
               [&] { low_rank_update(context_, x, down, {}, up, y); });
  Tensor other_rows = zeros({3, 5});
  expect_error(ErrorKind::mismatch, "y has shape [3, 5], expected [4, 5]",
               [&] { low_rank_update(context_, x, down, scales, up, other_rows); });
  Tensor other_type = zeros({4, 5}, DType::bf16);
  expect_error(ErrorKind::internal, "differ in type",
               [&] { low_rank_update(context_, x, down, scales, up, other_type); });
  const Weight conv_down(zeros({2, 3, 3, 3}));
  Tensor picture = zeros({1, 6, 6, 5});
  low_rank_conv_update(context_, zeros({1, 6, 6, 3}), conv_down, scales, up, ConvGeometry::same(3),
                       picture);
  expect_error(ErrorKind::mismatch, "y has shape", [&] {
    low_rank_conv_update(context_, zeros({1, 6, 6, 3}), conv_down, scales, up, {}, picture);
  });
}

TEST_F(OpsTest, KroneckerChecksItsArguments) {
  const Weight w1(zeros({2, 3})), w2(zeros({5, 4}));
  const Tensor x = zeros({7, 12}), scale = zeros({1});
  Tensor y = zeros({7, 10});
  kronecker_update(context_, x, w1, w2, scale, y);
  expect_error(
      ErrorKind::mismatch, "w1 [5, 4] and w2 [3, 2] do not fit a layer of 12 inputs and 10 outputs",
      [&] {
        kronecker_update(context_, x, Weight(zeros({5, 4})), Weight(zeros({3, 2})), scale, y);
      });
  expect_error(ErrorKind::mismatch, "do not fit", [&] {
    kronecker_update(context_, x, w1, Weight(zeros({5, 4, 1, 1})), scale, y);
  });
  expect_error(ErrorKind::mismatch, "scale has shape [2], expected [1]",
               [&] { kronecker_update(context_, x, w1, w2, zeros({2}), y); });
  expect_error(ErrorKind::internal, "scale is missing",
               [&] { kronecker_update(context_, x, w1, w2, {}, y); });
  Tensor other_rows = zeros({6, 10});
  expect_error(ErrorKind::mismatch, "y has shape [6, 10], expected [7, 10]",
               [&] { kronecker_update(context_, x, w1, w2, scale, other_rows); });
  Tensor other_type = zeros({7, 10}, DType::bf16);
  expect_error(ErrorKind::internal, "differ in type",
               [&] { kronecker_update(context_, x, w1, w2, scale, other_type); });
  Tensor none = zeros({0, 10});
  kronecker_update(context_, zeros({0, 12}), w1, w2, scale, none);

  const Weight kernel(zeros({5, 4, 3, 3}));
  Tensor picture = zeros({1, 6, 6, 10});
  kronecker_conv_update(context_, zeros({1, 6, 6, 12}), w1, kernel, scale, ConvGeometry::same(3),
                        picture);
  expect_error(ErrorKind::mismatch, "y has shape", [&] {
    kronecker_conv_update(context_, zeros({1, 6, 6, 12}), w1, kernel, scale, {}, picture);
  });
}

TEST_F(OpsTest, MaskedAddChecksItsArguments) {
  const Tensor delta = zeros({2, 3, 5});
  Tensor y = zeros({2, 3, 5});
  masked_add(context_, delta, zeros({6}), 1, y);
  masked_add(context_, delta, zeros({3}), 1, y);
  masked_add(context_, delta, zeros({1, 3}), 1, y);
  expect_error(ErrorKind::mismatch, "a mask of 4 values does not fit the 6 rows",
               [&] { masked_add(context_, delta, zeros({4}), 1, y); });
  expect_error(ErrorKind::internal, "mask is missing",
               [&] { masked_add(context_, delta, {}, 1, y); });
  expect_error(ErrorKind::internal, "mask must be f32",
               [&] { masked_add(context_, delta, zeros({6}, DType::bf16), 1, y); });
  expect_error(ErrorKind::mismatch, "delta has shape", [&] {
    masked_add(context_, zeros({6, 5}), zeros({6}), 1, y);
  });
  expect_error(ErrorKind::mismatch, "delta has shape", [&] {
    add_scaled(context_, zeros({6, 5}), 1, y);
  });
}

TEST_F(OpsTest, LinearLowRankChecksItsArguments) {
  const Weight weight(zeros({5, 3})), down(zeros({2, 3})), up(zeros({5, 2}));
  const Tensor x = zeros({4, 3}), scales = zeros({2}), short_scales = zeros({1}), absent;
  EXPECT_EQ(linear_low_rank(context_, x, weight, {}, {down, scales, up}).shape(), (Shape{4, 5}));
  EXPECT_EQ(linear_low_rank(context_, zeros({0, 3}), weight, {}, {down, scales, up}).count(), 0);
  expect_error(ErrorKind::mismatch, "[4, 2] does not fit weight [5, 3]", [&] {
    linear_low_rank(context_, zeros({4, 2}), weight, {}, {down, scales, up});
  });
  expect_error(ErrorKind::mismatch, "do not fit a layer of 3 inputs and 5 outputs", [&] {
    linear_low_rank(context_, x, weight, {}, {up, scales, down});
  });
  expect_error(ErrorKind::mismatch, "scales has shape [1], expected [2]", [&] {
    linear_low_rank(context_, x, weight, {}, {down, short_scales, up});
  });
  expect_error(ErrorKind::internal, "scales is missing", [&] {
    linear_low_rank(context_, x, weight, {}, {down, absent, up});
  });
}

/// The same whether adapters ride on the product or come after it, with what follows them.
TEST_F(OpsTest, LinearLowRankIsItsParts) {
  const auto values = [](const Shape& shape, float step) {
    Tensor tensor = Tensor::allocate(shape, DType::f32);
    float value = -1;
    for (float& v : tensor.mutable_floats()) v = value = value > 1 ? -1 : value + step;
    return tensor;
  };
  const Weight weight(values({5, 3}, 0.3f)), down(values({2, 3}, 0.7f)), up(values({5, 2}, 0.4f));
  const Tensor x = values({4, 3}, 0.6f), scales = values({2}, 0.5f), bias = values({5}, 0.2f);
  const Tensor residual = values({4, 5}, 0.11f);
  for (const Activation kind : {Activation::none, Activation::silu}) {
    const Tensor y = linear_low_rank(context_, x, weight, bias, {down, scales, up},
                                     {.activation = kind, .residual = &residual});
    Tensor sum = linear(context_, x, weight, bias);
    low_rank_update(context_, x, down, scales, up, sum);
    const Tensor expected = add(context_, activation(context_, sum, kind), residual);
    for (std::size_t i = 0; i < 20; ++i) EXPECT_NEAR(y.floats()[i], expected.floats()[i], 1e-6f);
  }
}

/// No rank is no adapter, not an error.
TEST_F(OpsTest, LowRankOfRankZeroChangesNothing) {
  Tensor y = Tensor::from(std::vector<float>{1, 2}, {1, 2});
  low_rank_update(context_, zeros({1, 3}), Weight(zeros({0, 3})), zeros({0}), Weight(zeros({2, 0})),
                  y);
  EXPECT_EQ(y.floats()[0], 1);
  EXPECT_EQ(y.floats()[1], 2);
  const Weight weight(Tensor::from(std::vector<float>{1, 2, 3}, {1, 3}));
  const Tensor x = Tensor::from(std::vector<float>{1, 1, 1}, {1, 3}), none = zeros({0});
  const Weight down(zeros({0, 3})), up(zeros({1, 0}));
  EXPECT_EQ(linear_low_rank(context_, x, weight, {}, {down, none, up}).floats()[0], 6);
}

TEST_F(OpsTest, NormsCheckTheirArguments) {
  const Tensor x = zeros({2, 3, 3, 8}), eight = zeros({8});
  EXPECT_EQ(group_norm(context_, x, {.gamma = eight, .beta = eight, .groups = 4}).shape(),
            x.shape());
  for (const int groups : {0, -1, 3, 16}) {
    expect_error(ErrorKind::mismatch, "cannot be split", [&] {
      group_norm(context_, x, {.gamma = eight, .beta = eight, .groups = groups});
    });
  }
  expect_error(ErrorKind::mismatch, "beta has shape [7], expected [8]",
               [&] { group_norm(context_, x, {.gamma = eight, .beta = zeros({7}), .groups = 4}); });
  expect_error(ErrorKind::internal, "gamma must be f32", [&] {
    group_norm(context_, x, {.gamma = zeros({8}, DType::f16), .beta = eight, .groups = 4});
  });
  expect_error(ErrorKind::internal, "gamma is missing",
               [&] { group_norm(context_, x, {.gamma = Tensor(), .beta = eight, .groups = 4}); });
  const Tensor add = zeros({1, 8});
  expect_error(ErrorKind::mismatch, "channel_add", [&] {
    group_norm(context_, x, {.gamma = eight, .beta = eight, .groups = 4, .channel_add = &add});
  });
  EXPECT_EQ(layer_norm(context_, zeros({2, 5, 8}), eight, eight, 1e-5f).shape(), (Shape{2, 5, 8}));
  expect_error(ErrorKind::mismatch, "gamma", [&] {
    layer_norm(context_, zeros({2, 7}), eight, eight, 1e-5f);
  });
  expect_error(ErrorKind::internal, "beta must be f32", [&] {
    layer_norm(context_, zeros({2, 8}), eight, zeros({8}, DType::bf16), 1e-5f);
  });
}

TEST_F(OpsTest, AttentionChecksItsArguments) {
  const Tensor q = zeros({2, 5, 12}), k = zeros({2, 7, 12});
  EXPECT_EQ(attention(context_, q, k, k, {.heads = 3}).shape(), q.shape());
  for (const int heads : {0, 5}) {
    expect_error(ErrorKind::mismatch, "do not fit together",
                 [&] { attention(context_, q, k, k, {.heads = heads}); });
  }
  expect_error(ErrorKind::mismatch, "do not fit together", [&] {
    attention(context_, q, zeros({1, 7, 12}), k, {.heads = 3});
  });
  expect_error(ErrorKind::mismatch, "do not fit together", [&] {
    attention(context_, q, zeros({2, 0, 12}), zeros({2, 0, 12}), {.heads = 3});
  });
  expect_error(ErrorKind::mismatch, "values", [&] {
    attention(context_, q, k, zeros({2, 6, 12}), {.heads = 3});
  });
  expect_error(ErrorKind::internal, "keys is bf16", [&] {
    attention(context_, q, zeros({2, 7, 12}, DType::bf16), k, {.heads = 3});
  });
}

TEST_F(OpsTest, ElementwiseChecksItsArguments) {
  EXPECT_EQ(geglu(context_, zeros({3, 8})).shape(), (Shape{3, 4}));
  expect_error(ErrorKind::mismatch, "not even", [&] { geglu(context_, zeros({3, 7})); });
  expect_error(ErrorKind::mismatch, "b has shape [4], expected [3]",
               [&] { add(context_, zeros({3}), zeros({4})); });
  expect_error(ErrorKind::internal, "b is bf16, expected f32",
               [&] { add(context_, zeros({3}), zeros({3}, DType::bf16)); });
  EXPECT_EQ(concat_channels(context_, zeros({1, 2, 3, 4}), zeros({1, 2, 3, 5})).shape(),
            (Shape{1, 2, 3, 9}));
  expect_error(ErrorKind::mismatch, "b has shape", [&] {
    concat_channels(context_, zeros({1, 2, 3, 4}), zeros({1, 3, 2, 5}));
  });
  expect_error(ErrorKind::mismatch, "differ in more than channels", [&] {
    concat_channels(context_, zeros({1, 2, 3, 4}), Tensor());
  });
  expect_error(ErrorKind::mismatch, "[N, H, W, C]", [&] {
    upsample_nearest_2x(context_, zeros({2, 3, 4}));
  });
  expect_error(ErrorKind::mismatch, "[N, C, H, W]", [&] {
    nchw_to_nhwc(context_, zeros({1, 2, 3, 4}, DType::bf16));
  });
  expect_error(ErrorKind::mismatch, "[N, H, W, C]", [&] {
    nhwc_to_nchw(context_, zeros({1, 2, 3}));
  });
  expect_error(ErrorKind::unsupported, "cast: between",
               [&] { cast(context_, zeros({4}, DType::i64), DType::f32); });
  const Tensor x = zeros({4});
  EXPECT_EQ(cast(context_, x, DType::f32).bytes(), x.bytes());
  EXPECT_EQ(activation(context_, x, Activation::none).bytes(), x.bytes());
}

TEST_F(OpsTest, EmbeddingChecksItsIds) {
  Tensor ids = Tensor::zeros({2, 3}, DType::i64);
  EXPECT_EQ(embedding(context_, zeros({10, 4}), ids).shape(), (Shape{2, 3, 4}));
  for (const std::int64_t outside : {std::int64_t{-1}, std::int64_t{10}}) {
    ids.mutable_data<std::int64_t>()[5] = outside;
    expect_error(ErrorKind::invalid_argument, "outside the table of 10 rows", [&] {
      embedding(context_, zeros({10, 4}), ids);
    });
  }
  expect_error(ErrorKind::mismatch, "i64 ids", [&] {
    embedding(context_, zeros({10, 4}), zeros({3}));
  });
  expect_error(ErrorKind::mismatch, "floating [V, C] table", [&] {
    embedding(context_, zeros({10, 4}, DType::i32), Tensor::zeros({1}, DType::i64));
  });
}

/// bf16 contexts give bf16 where the compute type decides.
TEST_F(OpsTest, ComputeTypeDecidesWhereInputsDoNot) {
  Context half(*table_, workspace_, DType::bf16);
  EXPECT_EQ(nchw_to_nhwc(half, zeros({1, 2, 3, 4})).dtype(), DType::bf16);
  EXPECT_EQ(nhwc_to_nchw(half, zeros({1, 2, 3, 4}, DType::bf16)).dtype(), DType::f32);
  EXPECT_EQ(embedding(half, zeros({1, 4}), Tensor::zeros({1}, DType::i64)).dtype(), DType::bf16);
}

}  // namespace
}  // namespace velatura::ops
