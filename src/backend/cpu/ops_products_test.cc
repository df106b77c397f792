// linear and conv2d against the reference.
#include <cmath>
#include <vector>

#include "backend/cpu/convolution.h"
#include "backend/cpu/primitive_table.h"
#include "tests/support/against_reference.h"
#include "tests/support/products.h"

namespace velatura::backend::cpu {
namespace {

using ops::Activation;
using ops::ConvGeometry;
using ops::Epilogue;
using ops::Weight;
using testing::compute_types;
using testing::epsilon_of;
using testing::expect_agreement;
using testing::for_each_case;
using testing::geometry_of;
using testing::kWorst;
using testing::parse_shapes;
using testing::product_tolerance;
using testing::RandomShapes;
using testing::ShapeCase;
using testing::sum_deviation;
using testing::Tolerance;
using testing::uniform_tensor;
using testing::weight_types;

Activation activation_of(const ShapeCase& shape) {
  const std::string name = shape.word("activation", "none");
  if (name == "none") return Activation::none;
  if (name == "silu") return Activation::silu;
  if (name == "gelu") return Activation::gelu;
  if (name == "quick_gelu") return Activation::quick_gelu;
  if (name == "relu") return Activation::relu;
  if (name == "leaky_relu") return Activation::leaky_relu;
  ADD_FAILURE() << "unknown activation in: " << shape.text;
  return Activation::none;
}

/// Values of any of the 8-bit and 64-bit types that files may hold, within [-1, 1].
Tensor rare_weight(const Shape& shape, DType type) {
  if (type == DType::f64) return uniform_tensor(shape, type, 5);
  Tensor bytes = Tensor::allocate(shape, type);
  const Tensor random = uniform_tensor(shape, DType::f32, 5);
  const int exponent_bits = type == DType::f8_e4m3 ? 4 : 5;
  const int below_one = ((1 << (exponent_bits - 1)) - 1) << (7 - exponent_bits);
  for (std::int64_t i = 0; i < bytes.count(); ++i) {
    const float value = random.data<float>()[i];
    const int magnitude = static_cast<int>(std::abs(value) * static_cast<float>(below_one));
    bytes.mutable_data<std::uint8_t>()[i] =
        static_cast<std::uint8_t>(magnitude | (value < 0 ? 0x80 : 0));
  }
  return bytes;
}

void compare_linear(const ShapeCase& shape, DType type, const Tensor& weight_values) {
  const std::int64_t rows = shape.get("rows"), in = shape.get("in"), out = shape.get("out");
  const Tensor x = uniform_tensor({rows, in}, type, 1);
  const Tensor bias = shape.get("bias", 1) ? uniform_tensor({out}, DType::f32, 3) : Tensor();
  const Tensor residual = uniform_tensor({rows, out}, type, 4);
  const Weight weight(weight_values);
  const Epilogue epilogue{.activation = activation_of(shape),
                          .residual = shape.get("residual", 0) ? &residual : nullptr};
  expect_agreement(
      type, product_tolerance(in, type, weight_values.dtype()),
      [&](ops::Context& context) { return ops::linear(context, x, weight, bias, epilogue); });
}

/// Winograd's F(2×2, 3×3) rounds transformed pictures and weights to bf16. A transformed value sums
/// four inputs (variance 4); a transformed weight has the mean variance (1 + ¾ + ¾)² / 9 of a
/// kernel's; an output sums 9 products of the two, as the direct form does. Two roundings, uniform
/// within ±ε/2: a variance of 2/3 · 4 · 0.694 (ε/2)² of the direct sum's.
double winograd_error(double deviation) {
  return kWorst * std::sqrt(2.0 / 3 * 4 * 0.694) * epsilon_of(DType::bf16) / 2 * deviation;
}

Tolerance conv_tolerance(const Tensor& x, const Weight& weight, const ConvGeometry& geometry) {
  const Shape& shape = weight.shape();
  const std::int64_t terms = shape[1] * shape[2] * shape[3];
  const Shape y = ops::conv2d_shape(x.shape(), shape, geometry);
  const ConvolutionSpec spec = convolution_spec(x, weight, geometry, y);
  if (primitive_of(cpu_features(), spec) != ConvolutionPrimitive::winograd_bf16) {
    return product_tolerance(terms, x.dtype(), weight.original().dtype());
  }
  // Weights of any type are transformed in f32 and rounded once.
  Tolerance tolerance = product_tolerance(terms, x.dtype(), DType::bf16);
  tolerance.absolute += winograd_error(sum_deviation(terms));
  return tolerance;
}

void compare_conv2d(const ShapeCase& shape, DType type, const Tensor& weight_values) {
  const std::int64_t in = shape.get("in"), out = shape.get("out");
  const Tensor x =
      uniform_tensor({shape.get("batch"), shape.get("height"), shape.get("width"), in}, type, 1);
  const ConvGeometry geometry = geometry_of(shape);
  const Tensor bias = shape.get("bias", 1) ? uniform_tensor({out}, DType::f32, 3) : Tensor();
  const Tensor residual =
      uniform_tensor(ops::conv2d_shape(x.shape(), weight_values.shape(), geometry), type, 4);
  const Weight weight(weight_values);
  const Epilogue epilogue{.activation = activation_of(shape),
                          .residual = shape.get("residual", 0) ? &residual : nullptr};
  expect_agreement(type, conv_tolerance(x, weight, geometry), [&](ops::Context& context) {
    return ops::conv2d(context, x, weight, bias, geometry, epilogue);
  });
}

Shape linear_weight(const ShapeCase& shape) {
  return {shape.get("out"), shape.get("in")};
}

Shape conv_weight(const ShapeCase& shape) {
  return {shape.get("out"), shape.get("in"), shape.get("kernel"), shape.get("kernel")};
}

TEST(OpsAgainstReference, Linear) {
  for_each_case("linear", [](const ShapeCase& shape, DType type) {
    for (const DType weight_type : weight_types(shape)) {
      SCOPED_TRACE(to_string(weight_type));
      compare_linear(shape, type, uniform_tensor(linear_weight(shape), weight_type, 2));
    }
  });
}

TEST(OpsAgainstReference, Conv2d) {
  for_each_case("conv2d", [](const ShapeCase& shape, DType type) {
    for (const DType weight_type : weight_types(shape)) {
      SCOPED_TRACE(to_string(weight_type));
      compare_conv2d(shape, type, uniform_tensor(conv_weight(shape), weight_type, 2));
    }
  });
}

TEST(OpsAgainstReference, ProductsOfRandomShapes) {
  RandomShapes random(5);
  for (int i = 0; i < 60; ++i) {
    const std::string ends = random.field("bias", 0, 1) + random.field("residual", 0, 1);
    const std::string linear = random.field("rows", 1, 130) + random.field("in", 1, 200) +
                               random.field("out", 1, 200) + ends;
    const std::string conv =
        random.window() + random.field("in", 1, 70) + random.field("out", 1, 70) + ends;
    for (const DType type : compute_types()) {
      SCOPED_TRACE(std::string(to_string(type)) + linear + " |" + conv);
      const ShapeCase rows = parse_shapes(linear).front();
      compare_linear(rows, type, uniform_tensor(linear_weight(rows), DType::f16, 2));
      const ShapeCase pictures = parse_shapes(conv).front();
      compare_conv2d(pictures, type, uniform_tensor(conv_weight(pictures), DType::f16, 2));
    }
  }
}

TEST(OpsAgainstReference, RareWeightTypes) {
  for (const DType rare : {DType::f64, DType::f8_e4m3, DType::f8_e5m2}) {
    SCOPED_TRACE(to_string(rare));
    for (const DType type : compute_types()) {
      const ShapeCase linear = parse_shapes("rows=9 in=20 out=36").front();
      compare_linear(linear, type, rare_weight(linear_weight(linear), rare));
      const ShapeCase conv =
          parse_shapes("batch=1 height=6 width=5 in=8 out=16 kernel=3 pad=1").front();
      compare_conv2d(conv, type, rare_weight(conv_weight(conv), rare));
    }
  }
}

/// Rows of more than two axes are the same as a matrix of them.
TEST(OpsAgainstReference, LinearOfTokens) {
  for (const DType type : compute_types()) {
    const Tensor x = uniform_tensor({2, 7, 24}, type, 1);
    const Weight weight(uniform_tensor({10, 24}, DType::f32, 2));
    expect_agreement(type, product_tolerance(24, type, DType::f32), [&](ops::Context& context) {
      return ops::linear(context, x, weight, {}, {});
    });
  }
}

}  // namespace
}  // namespace velatura::backend::cpu
