// Pointwise ops and ops that only move elements, against the reference.
#include <bit>
#include <cmath>
#include <vector>

#include "ops/activation.h"
#include "ops/elementwise.h"
#include "tests/support/against_reference.h"

namespace velatura::backend::cpu {
namespace {

using ops::Activation;
using testing::bit_identical;
using testing::compute_types;
using testing::epsilon_of;
using testing::expect_agreement;
using testing::for_each_case;
using testing::kWorst;
using testing::result_rounding;
using testing::ShapeCase;
using testing::Side;
using testing::test_shapes;
using testing::Tolerance;
using testing::uniform_tensor;

/// Moving elements changes no bit.
constexpr Tolerance kExact{};

Tensor scaled(const Tensor& x, float by) {
  Tensor values = to_f32(x).clone();
  for (float& value : values.mutable_floats()) value *= by;
  return from_f32(values, x.dtype());
}

/// Sigmoid and Φ are within [0, 1], so an error of some ε in them is one of ε·|x| in the result.
Tolerance activation_tolerance(double largest, DType type) {
  return {kWorst * epsilon_of(DType::f32) * largest, result_rounding(type)};
}

TEST(OpsAgainstReference, Activation) {
  constexpr float kRange = 12;  // far into both tails
  for_each_case("activation", [](const ShapeCase& shape, DType type) {
    const Tensor x = scaled(uniform_tensor({shape.get("count")}, type, 1), kRange);
    for (const Activation kind : {Activation::silu, Activation::gelu, Activation::quick_gelu,
                                  Activation::relu, Activation::leaky_relu}) {
      SCOPED_TRACE(static_cast<int>(kind));
      expect_agreement(type, activation_tolerance(static_cast<double>(kRange), type),
                       [&](ops::Context& context) { return ops::activation(context, x, kind); });
    }
  });
}

/// Where exp would overflow, and at both zeros.
TEST(OpsAgainstReference, ActivationOfExtremes) {
  const std::vector<float> extremes = {0.0f, -0.0f, 90.0f, -90.0f, 1e4f, -1e4f, 1e30f, -1e30f};
  for (const DType type : compute_types()) {
    const Tensor x =
        from_f32(Tensor::from(extremes, {static_cast<std::int64_t>(extremes.size())}), type);
    for (const Activation kind : {Activation::silu, Activation::gelu, Activation::quick_gelu,
                                  Activation::relu, Activation::leaky_relu}) {
      SCOPED_TRACE(static_cast<int>(kind));
      // Below zero the functions return to 0, as far as their sigmoid is flushed or not.
      expect_agreement(type, {1e-6, result_rounding(type)},
                       [&](ops::Context& context) { return ops::activation(context, x, kind); });
    }
  }
}

TEST(OpsAgainstReference, Geglu) {
  constexpr float kRange = 5;
  for_each_case("geglu", [](const ShapeCase& shape, DType type) {
    const Tensor x =
        scaled(uniform_tensor({shape.get("rows"), 2 * shape.get("channels")}, type, 1), kRange);
    const double largest = static_cast<double>(kRange * kRange);
    expect_agreement(type, activation_tolerance(largest, type),
                     [&](ops::Context& context) { return ops::geglu(context, x); });
  });
}

TEST(OpsAgainstReference, ScaledAdd) {
  for_each_case("scaled_add", [](const ShapeCase& shape, DType type) {
    const Tensor a = uniform_tensor({shape.get("count")}, type, 1);
    const Tensor b = uniform_tensor({shape.get("count")}, type, 2);
    for (const float scale : {1.0f, -0.37f, 7.5f}) {
      // One product and one sum, fused or not.
      const double error = epsilon_of(DType::f32) * (1 + std::abs(static_cast<double>(scale)));
      expect_agreement(type, {error, result_rounding(type)}, [&](ops::Context& context) {
        return ops::scaled_add(context, a, b, scale);
      });
    }
  });
}

TEST(OpsAgainstReference, ConcatChannels) {
  for_each_case("concat_channels", [](const ShapeCase& shape, DType type) {
    const std::int64_t batch = shape.get("batch"), height = shape.get("height");
    const std::int64_t width = shape.get("width");
    const Tensor a = uniform_tensor({batch, height, width, shape.get("first")}, type, 1);
    const Tensor b = uniform_tensor({batch, height, width, shape.get("second")}, type, 2);
    expect_agreement(type, kExact,
                     [&](ops::Context& context) { return ops::concat_channels(context, a, b); });
  });
}

Shape picture(const ShapeCase& shape) {
  return {shape.get("batch"), shape.get("height"), shape.get("width"), shape.get("channels")};
}

TEST(OpsAgainstReference, UpsampleNearest2x) {
  for_each_case("upsample_nearest_2x", [](const ShapeCase& shape, DType type) {
    const Tensor x = uniform_tensor(picture(shape), type, 1);
    expect_agreement(type, kExact,
                     [&](ops::Context& context) { return ops::upsample_nearest_2x(context, x); });
  });
}

TEST(OpsAgainstReference, Layout) {
  for_each_case("layout", [](const ShapeCase& shape, DType type) {
    const Shape last = picture(shape);
    const Tensor first = uniform_tensor({last[0], last[3], last[1], last[2]}, DType::f32, 1);
    expect_agreement(type, kExact,
                     [&](ops::Context& context) { return ops::nchw_to_nhwc(context, first); });
    const Tensor x = uniform_tensor(last, type, 2);
    expect_agreement(type, kExact,
                     [&](ops::Context& context) { return ops::nhwc_to_nchw(context, x); });
  });
}

TEST(OpsAgainstReference, Embedding) {
  for_each_case("embedding", [](const ShapeCase& shape, DType type) {
    const std::int64_t rows = shape.get("rows"), count = shape.get("ids");
    Tensor ids = Tensor::allocate({1, count}, DType::i64);
    for (std::int64_t i = 0; i < count; ++i) {
      ids.mutable_data<std::int64_t>()[i] = (i + 1) * 7919 % rows;
    }
    for (const DType table_type : {DType::f32, DType::f16, DType::bf16}) {
      SCOPED_TRACE(to_string(table_type));
      const Tensor table = uniform_tensor({rows, shape.get("channels")}, table_type, 1);
      expect_agreement(type, kExact,
                       [&](ops::Context& context) { return ops::embedding(context, table, ids); });
    }
  });
}

/// Every value of every 16-bit type, and f32 values on and beside the ties of rounding.
TEST(OpsAgainstReference, Cast) {
  std::vector<Tensor> inputs;
  for (const ShapeCase& shape : test_shapes("cast")) {
    for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
      inputs.push_back(uniform_tensor({shape.get("count")}, type, 1));
    }
  }
  for (const DType type : {DType::f16, DType::bf16}) {
    Tensor all = Tensor::allocate({1 << 16}, type);
    for (int bits = 0; bits < 1 << 16; ++bits) {
      const bool special = (bits & 0x7c00) == 0x7c00 && type == DType::f16;
      const bool bf16_special = (bits & 0x7f80) == 0x7f80 && type == DType::bf16;
      const int finite = special || bf16_special ? 0 : bits;
      all.mutable_data<std::uint16_t>()[bits] = static_cast<std::uint16_t>(finite);
    }
    inputs.push_back(all);
  }
  Tensor ties = Tensor::allocate({1 << 16}, DType::f32);
  for (int i = 0; i < 1 << 16; ++i) {
    const auto bits = 0x30000000u + static_cast<std::uint32_t>(i) * 0x800u + (i % 3 == 2 ? 1u : 0u);
    ties.mutable_floats()[static_cast<std::size_t>(i)] = std::bit_cast<float>(bits);
  }
  inputs.push_back(ties);

  Side cpu_side(make_cpu_backend(), DType::f32);
  Side reference_side(reference::make_reference_backend(), DType::f32);
  for (const Tensor& x : inputs) {
    for (const DType to : {DType::f32, DType::f16, DType::bf16}) {
      SCOPED_TRACE(std::string(to_string(x.dtype())) + " → " + std::string(to_string(to)));
      EXPECT_TRUE(bit_identical(ops::cast(cpu_side.context(), x, to),
                                ops::cast(reference_side.context(), x, to)));
    }
  }
}

}  // namespace
}  // namespace velatura::backend::cpu
