// What live adapters compute with: low_rank, kronecker, add_scaled, masked_add, and all of them on
// slices of a batch, against the reference.
#include <array>
#include <cmath>

#include "ops/elementwise.h"
#include "ops/kronecker.h"
#include "ops/low_rank.h"
#include "tests/support/against_reference.h"
#include "tests/support/products.h"

namespace velatura::backend::cpu {
namespace {

using ops::ConvGeometry;
using ops::Weight;
using testing::bit_identical;
using testing::compute_types;
using testing::epsilon_of;
using testing::expect_agreement;
using testing::for_each_case;
using testing::geometry_of;
using testing::kInputDeviation;
using testing::low_rank_tolerance;
using testing::parse_shapes;
using testing::RandomShapes;
using testing::result_rounding;
using testing::ShapeCase;
using testing::Side;
using testing::uniform_tensor;
using testing::weight_types;

void compare_low_rank(const ShapeCase& shape, DType type, DType factor_type) {
  const std::int64_t in = shape.get("in"), out = shape.get("out"), rank = shape.get("rank");
  const bool convolution = shape.has("kernel");
  const std::int64_t kernel = shape.get("kernel", 1);
  const ConvGeometry geometry = geometry_of(shape);
  const Shape down_shape = convolution ? Shape{rank, in, kernel, kernel} : Shape{rank, in};
  const Shape x_shape = convolution
                            ? Shape{shape.get("batch"), shape.get("height"), shape.get("width"), in}
                            : Shape{shape.get("rows"), in};
  Shape y_shape{x_shape[0], out};
  if (convolution) {
    const Shape inner = ops::conv2d_shape(x_shape, down_shape, geometry);
    y_shape = {inner[0], inner[1], inner[2], out};
  }
  const Tensor x = uniform_tensor(x_shape, type, 1);
  const Weight down(uniform_tensor(down_shape, factor_type, 2));
  const Weight up(uniform_tensor({out, rank}, factor_type, 3));
  const Tensor scales = uniform_tensor({rank}, DType::f32, 4);
  const Tensor base = uniform_tensor(y_shape, type, 5);
  expect_agreement(type, low_rank_tolerance(in * kernel * kernel, rank, type),
                   [&](ops::Context& context) {
                     Tensor y = base.clone();
                     if (convolution) {
                       ops::low_rank_conv_update(context, x, down, scales, up, geometry, y);
                     } else {
                       ops::low_rank_update(context, x, down, scales, up, y);
                     }
                     return y;
                   });
}

TEST(OpsAgainstReference, LowRank) {
  for_each_case("low_rank", [](const ShapeCase& shape, DType type) {
    for (const DType factor_type : weight_types(shape)) {
      SCOPED_TRACE(to_string(factor_type));
      compare_low_rank(shape, type, factor_type);
    }
  });
}

TEST(OpsAgainstReference, LowRankOfRandomShapes) {
  RandomShapes random(16);
  for (int i = 0; i < 60; ++i) {
    const std::string line = random.field("in", 1, 100) + random.field("out", 1, 150) +
                             random.field("rank", 1, 40) +
                             (i % 2 == 0 ? random.field("rows", 1, 70) : random.window());
    SCOPED_TRACE(line);
    for (const DType type : compute_types()) {
      compare_low_rank(parse_shapes(line).front(), type, DType::f16);
    }
  }
}

/// Factors, input and what y holds before, for one case of bench/shapes/kronecker.txt.
struct KroneckerCase {
  KroneckerCase(const ShapeCase& shape, DType type, DType factor_type)
      : convolution(shape.has("kernel")), geometry(geometry_of(shape)) {
    const std::int64_t out_l = shape.get("out_l"), in_m = shape.get("in_m");
    const std::int64_t out_k = shape.get("out_k"), in_n = shape.get("in_n");
    const std::int64_t kernel = shape.get("kernel", 1);
    Shape x_shape{shape.get("rows", 1), in_m * in_n}, y_shape{x_shape[0], out_l * out_k};
    Shape w2_shape{out_k, in_n};
    if (convolution) {
      x_shape = {shape.get("batch"), shape.get("height"), shape.get("width"), in_m * in_n};
      y_shape = ops::conv2d_shape(x_shape, {out_l * out_k, in_m * in_n, kernel, kernel}, geometry);
      w2_shape = {out_k, in_n, kernel, kernel};
    }
    x = uniform_tensor(x_shape, type, 1);
    w1 = uniform_tensor({out_l, in_m}, factor_type, 2);
    w2 = uniform_tensor(w2_shape, factor_type, 3);
    base = uniform_tensor(y_shape, type, 5);
    // One scale for all, as large as the deviation of those that low_rank_tolerance expects.
    scale = Tensor::from(std::array{static_cast<float>(kInputDeviation)}, {1});
    tolerance = low_rank_tolerance(in_n * kernel * kernel, in_m, type);
  }

  Tensor on(ops::Context& context) const {
    const Weight first(w1), second(w2);
    Tensor y = base.clone();
    if (convolution) {
      ops::kronecker_conv_update(context, x, first, second, scale, geometry, y);
    } else {
      ops::kronecker_update(context, x, first, second, scale, y);
    }
    return y;
  }

  bool convolution;
  ConvGeometry geometry;
  Tensor x, w1, w2, base, scale;
  testing::Tolerance tolerance;
};

TEST(OpsAgainstReference, Kronecker) {
  for_each_case("kronecker", [](const ShapeCase& shape, DType type) {
    for (const DType factor_type : weight_types(shape)) {
      SCOPED_TRACE(to_string(factor_type));
      const KroneckerCase test(shape, type, factor_type);
      expect_agreement(type, test.tolerance,
                       [&](ops::Context& context) { return test.on(context); });
    }
  });
}

/// Factors of every parity and size, windows of every geometry.
TEST(OpsAgainstReference, KroneckerOfRandomShapes) {
  RandomShapes random(20261121);
  for (int i = 0; i < 60; ++i) {
    const std::string line = random.field("out_l", 1, 30) + random.field("in_m", 1, 30) +
                             random.field("out_k", 1, 80) + random.field("in_n", 1, 40) +
                             (i % 2 == 0 ? random.field("rows", 1, 70) : random.window());
    SCOPED_TRACE(line);
    const ShapeCase shape = parse_shapes(line).front();
    for (const DType type : compute_types()) {
      const KroneckerCase test(shape, type, DType::f32);
      expect_agreement(type, test.tolerance,
                       [&](ops::Context& context) { return test.on(context); });
    }
  }
}

/// The definition itself: a linear layer with the Kronecker product as its weight, which the op
/// never builds.
TEST(OpsAgainstReference, KroneckerIsTheProductOfItsFactors) {
  const std::int64_t out_l = 3, in_m = 4, out_k = 5, in_n = 6;
  const Tensor w1 = uniform_tensor({out_l, in_m}, DType::f32, 1);
  const Tensor w2 = uniform_tensor({out_k, in_n}, DType::f32, 2);
  Tensor dense = Tensor::allocate({out_l * out_k, in_m * in_n}, DType::f32);
  for (std::int64_t i = 0; i < dense.count(); ++i) {
    const std::int64_t row = i / (in_m * in_n), column = i % (in_m * in_n);
    dense.mutable_data<float>()[i] = w1.data<float>()[row / out_k * in_m + column / in_n] *
                                     w2.data<float>()[row % out_k * in_n + column % in_n];
  }
  const Weight factor1(w1), factor2(w2), product(dense);
  const Tensor x = uniform_tensor({2, 9, in_m * in_n}, DType::f32, 3);
  const Tensor scale = Tensor::from(std::array{1.0f}, {1});
  Side side(make_cpu_backend(), DType::f32);
  Tensor y = ops::zeros(side.context(), {2, 9, out_l * out_k});
  ops::kronecker_update(side.context(), x, factor1, factor2, scale, y);
  EXPECT_TRUE(testing::within(y, ops::linear(side.context(), x, product, {}),
                              low_rank_tolerance(in_n, in_m, DType::f32)));
}

TEST(OpsAgainstReference, AddScaled) {
  for_each_case("scaled_add", [](const ShapeCase& shape, DType type) {
    const Tensor delta = uniform_tensor({shape.get("count")}, type, 1);
    const Tensor base = uniform_tensor({shape.get("count")}, type, 2);
    const float scale = -0.37f;
    const double error = epsilon_of(DType::f32) * (1 + std::abs(static_cast<double>(scale)));
    expect_agreement(type, {error, result_rounding(type)}, [&](ops::Context& context) {
      Tensor y = base.clone();
      ops::add_scaled(context, delta, scale, y);
      return y;
    });
  });
}

TEST(OpsAgainstReference, MaskedAdd) {
  for_each_case("masked_add", [](const ShapeCase& shape, DType type) {
    const std::int64_t rows = shape.get("rows"), channels = shape.get("channels");
    const Tensor delta = uniform_tensor({rows, channels}, type, 1);
    const Tensor base = uniform_tensor({rows, channels}, type, 2);
    const Tensor mask = uniform_tensor({shape.get("mask", rows)}, DType::f32, 3);
    const float scale = 1.5f;
    const double error = epsilon_of(DType::f32) * (1 + 2 * static_cast<double>(scale));
    expect_agreement(type, {error, result_rounding(type)}, [&](ops::Context& context) {
      Tensor y = base.clone();
      ops::masked_add(context, delta, mask, scale, y);
      return y;
    });
  });
}

TEST(LiveOps, AMaskOfZeroLeavesEveryBit) {
  for (const DType type : compute_types()) {
    Side side(make_cpu_backend(), type);
    const Tensor delta = uniform_tensor({6, 33}, type, 1);
    const Tensor base = from_f32(Tensor::from(std::vector<float>(6 * 33, -0.0f), {6, 33}), type);
    const Tensor mask = Tensor::from(std::array{0.0f, 1.0f, 0.0f}, {3});
    Tensor y = base.clone();
    ops::masked_add(side.context(), delta, mask, 2.0f, y);
    for (std::int64_t row = 0; row < 6; ++row) {
      EXPECT_EQ(bool(bit_identical(y.slice(row, row + 1), base.slice(row, row + 1))), row % 3 != 1);
    }
  }
}

/// Adapters of single pictures of a batch: an op on the slices of x and y gives what it gives on
/// the picture alone, and changes nothing beside it.
template <typename Update>
void expect_slices(const Shape& x_shape, const Shape& y_shape, const Update& update) {
  for (const DType type : compute_types()) {
    SCOPED_TRACE(to_string(type));
    Side side(make_cpu_backend(), type);
    const Tensor x = uniform_tensor(x_shape, type, 1);
    const Tensor base = uniform_tensor(y_shape, type, 2);
    Tensor y = base.clone();
    for (std::int64_t picture = 0; picture < x_shape[0]; ++picture) {
      if (picture == 1) continue;
      Tensor part = y.slice(picture, picture + 1);
      update(side.context(), x.slice(picture, picture + 1), part);
    }
    for (std::int64_t picture = 0; picture < x_shape[0]; ++picture) {
      Tensor alone = base.slice(picture, picture + 1).clone();
      const Tensor alone_x = x.slice(picture, picture + 1).clone();
      if (picture != 1) update(side.context(), alone_x, alone);
      EXPECT_TRUE(bit_identical(y.slice(picture, picture + 1), alone)) << picture;
    }
  }
}

TEST(LiveOps, WorkOnSlicesOfABatch) {
  const Weight down(uniform_tensor({6, 20}, DType::f16, 3));
  const Weight up(uniform_tensor({37, 6}, DType::f16, 4));
  const Tensor scales = uniform_tensor({6}, DType::f32, 5);
  expect_slices({4, 7, 20}, {4, 7, 37}, [&](ops::Context& context, const Tensor& x, Tensor& y) {
    ops::low_rank_update(context, x, down, scales, up, y);
  });
  const Weight kernel(uniform_tensor({6, 20, 3, 3}, DType::f16, 6));
  expect_slices(
      {3, 5, 4, 20}, {3, 5, 4, 37}, [&](ops::Context& context, const Tensor& x, Tensor& y) {
        ops::low_rank_conv_update(context, x, kernel, scales, up, ConvGeometry::same(3), y);
      });
  const Weight w1(uniform_tensor({6, 4}, DType::f16, 7));
  const Weight w2(uniform_tensor({10, 12}, DType::f16, 8));
  const Tensor scale = Tensor::from(std::array{0.7f}, {1});
  expect_slices({4, 9, 48}, {4, 9, 60}, [&](ops::Context& context, const Tensor& x, Tensor& y) {
    ops::kronecker_update(context, x, w1, w2, scale, y);
  });
  const Weight dense(uniform_tensor({37, 20}, DType::f16, 9));
  expect_slices({4, 7, 20}, {4, 7, 37}, [&](ops::Context& context, const Tensor& x, Tensor& y) {
    ops::add_scaled(context, ops::linear(context, x, dense, {}), 0.5f, y);
  });
  const Tensor mask = uniform_tensor({7}, DType::f32, 10);
  expect_slices({4, 7, 20}, {4, 7, 37}, [&](ops::Context& context, const Tensor& x, Tensor& y) {
    ops::masked_add(context, ops::linear(context, x, dense, {}), mask, 0.5f, y);
  });
}

/// Tucker's live form is three convolutions, and needs no op of its own: down 1×1, then the middle
/// as the down of a low-rank pair that carries the base's geometry.
TEST(LiveOps, TuckerIsAConvolutionBeforeALowRankPair) {
  const std::int64_t in = 12, out = 10, rank = 4;
  const ConvGeometry geometry{
      .stride = 2, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
  const Tensor down = uniform_tensor({rank, in, 1, 1}, DType::f32, 1);
  const Tensor mid = uniform_tensor({rank, rank, 3, 3}, DType::f32, 2);
  const Tensor up = uniform_tensor({out, rank}, DType::f32, 3);
  const float scale = 0.8f;
  Tensor dense = Tensor::zeros({out, in, 3, 3}, DType::f32);
  for (std::int64_t i = 0; i < dense.count(); ++i) {
    const std::int64_t o = i / (in * 9), c = i / 9 % in, tap = i % 9;
    for (std::int64_t p = 0; p < rank; ++p) {
      for (std::int64_t q = 0; q < rank; ++q) {
        dense.mutable_data<float>()[i] += scale * up.data<float>()[o * rank + p] *
                                          mid.data<float>()[(p * rank + q) * 9 + tap] *
                                          down.data<float>()[q * in + c];
      }
    }
  }
  const Weight first(down), middle(mid), last(up), whole(dense);
  const Tensor x = uniform_tensor({2, 7, 6, in}, DType::f32, 4);
  const Tensor scales = Tensor::from(std::vector<float>(rank, scale), {rank});
  Side side(make_cpu_backend(), DType::f32);
  const Tensor expected = ops::conv2d(side.context(), x, whole, {}, geometry);
  Tensor y = ops::zeros(side.context(), expected.shape());
  const Tensor inner = ops::conv2d(side.context(), x, first, {}, {});
  ops::low_rank_conv_update(side.context(), inner, middle, scales, last, geometry, y);
  // Two intermediate sums: the tolerance of a pair, its inner sum over the channels and the outer
  // over rank² · 9 terms.
  EXPECT_TRUE(testing::within(y, expected, low_rank_tolerance(in, rank * rank * 9, DType::f32)));
}

}  // namespace
}  // namespace velatura::backend::cpu
