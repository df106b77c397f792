// The same call gives the same bits: a seed repeats its picture byte for byte.
#include "ops/attention.h"
#include "ops/kronecker.h"
#include "ops/low_rank.h"
#include "ops/norm.h"
#include "tests/support/against_reference.h"

namespace velatura::backend::cpu {
namespace {

using ops::Weight;
using testing::bit_identical;
using testing::compute_types;
using testing::Side;
using testing::uniform_tensor;

/// Twice on one backend, then on a fresh one: neither the workspace's used memory nor a cached
/// primitive nor the division among threads may show.
template <std::invocable<ops::Context&> Op>
void expect_repeatable(const Op& op) {
  for (const DType type : compute_types()) {
    SCOPED_TRACE(to_string(type));
    Side side(make_cpu_backend(), type);
    const Tensor first = op(side.context()).clone();
    for (int again = 0; again < 3; ++again) {
      EXPECT_TRUE(bit_identical(op(side.context()), first));
    }
    Side fresh(make_cpu_backend(), type);
    EXPECT_TRUE(bit_identical(op(fresh.context()), first));
  }
}

TEST(OpsRepeat, Linear) {
  const Weight weight(uniform_tensor({200, 600}, DType::f16, 2));
  const Tensor bias = uniform_tensor({200}, DType::f32, 3);
  expect_repeatable([&](ops::Context& context) {
    return ops::linear(context, uniform_tensor({333, 600}, context.compute(), 1), weight, bias);
  });
}

TEST(OpsRepeat, Conv2d) {
  const Weight weight(uniform_tensor({64, 64, 3, 3}, DType::f16, 2));
  const Tensor bias = uniform_tensor({64}, DType::f32, 3);
  expect_repeatable([&](ops::Context& context) {
    return ops::conv2d(context, uniform_tensor({2, 24, 24, 64}, context.compute(), 1), weight, bias,
                       ops::ConvGeometry::same(3));
  });
}

TEST(OpsRepeat, Conv2dOfManyChannels) {
  const Weight weight(uniform_tensor({192, 96, 3, 3}, DType::f16, 2));
  const Tensor bias = uniform_tensor({192}, DType::f32, 3);
  expect_repeatable([&](ops::Context& context) {
    return ops::conv2d(context, uniform_tensor({2, 31, 33, 96}, context.compute(), 1), weight, bias,
                       ops::ConvGeometry::same(3));
  });
}

TEST(OpsRepeat, LowRank) {
  const Weight down(uniform_tensor({24, 320}, DType::f16, 2));
  const Weight up(uniform_tensor({160, 24}, DType::f16, 3));
  const Tensor scales = uniform_tensor({24}, DType::f32, 4);
  expect_repeatable([&](ops::Context& context) {
    Tensor y = uniform_tensor({500, 160}, context.compute(), 5);
    const Tensor x = uniform_tensor({500, 320}, context.compute(), 1);
    ops::low_rank_update(context, x, down, scales, up, y);
    return y;
  });
}

TEST(OpsRepeat, Kronecker) {
  const Weight w1(uniform_tensor({10, 16}, DType::f16, 2));
  const Weight w2(uniform_tensor({20, 18}, DType::f16, 3));
  const Tensor scale = uniform_tensor({1}, DType::f32, 4);
  expect_repeatable([&](ops::Context& context) {
    Tensor y = uniform_tensor({501, 200}, context.compute(), 5);
    const Tensor x = uniform_tensor({501, 288}, context.compute(), 1);
    ops::kronecker_update(context, x, w1, w2, scale, y);
    return y;
  });
}

TEST(OpsRepeat, Attention) {
  expect_repeatable([](ops::Context& context) {
    const DType type = context.compute();
    return ops::attention(context, uniform_tensor({2, 300, 80}, type, 1),
                          uniform_tensor({2, 900, 80}, type, 2),
                          uniform_tensor({2, 900, 80}, type, 3), {.heads = 2});
  });
}

TEST(OpsRepeat, GroupNorm) {
  const Tensor gamma = uniform_tensor({96}, DType::f32, 2);
  const Tensor beta = uniform_tensor({96}, DType::f32, 3);
  expect_repeatable([&](ops::Context& context) {
    return ops::group_norm(context, uniform_tensor({2, 33, 31, 96}, context.compute(), 1),
                           {.gamma = gamma, .beta = beta, .groups = 32});
  });
}

/// A picture's result does not depend on its neighbours: picture i of a batch equals picture i
/// alone, by direct convolution and where channels and size invite another way.
TEST(OpsRepeat, BatchOfPicturesEqualsEachAlone) {
  for (const std::int64_t channels : {40, 64}) {
    const Weight weight(uniform_tensor({channels, 96, 3, 3}, DType::f32, 2));
    for (const DType type : compute_types()) {
      SCOPED_TRACE(std::string(to_string(type)) + " " + std::to_string(channels));
      Side side(make_cpu_backend(), type);
      const Tensor x = uniform_tensor({3, 17, 16, 96}, type, 1);
      const auto run = [&](const Tensor& pictures) {
        return ops::conv2d(side.context(), pictures, weight, {}, ops::ConvGeometry::same(3));
      };
      const Tensor all = run(x);
      for (std::int64_t i = 0; i < 3; ++i) {
        EXPECT_TRUE(bit_identical(run(x.slice(i, i + 1)), all.slice(i, i + 1)));
      }
    }
  }
}

}  // namespace
}  // namespace velatura::backend::cpu
