#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/adapter_module.h"

// W' = W + m · (g ∘ V / N(V) − W) in double (lora-formats §1.6). V is W + ΔW of the inner kind,
// which has its own test; here it is what the same module without magnitude gives.
namespace velatura::lora {
namespace {

using testing::AdapterModule;
using testing::Matrix;
using testing::relative_error;
using testing::uniform_tensor;

constexpr double kClose = 1e-6;

enum class Axis { rows, channels };

Matrix decomposed(const Matrix& v, const Tensor& magnitude, Axis axis, std::int64_t kernel) {
  const auto index = [&](std::int64_t r, std::int64_t c) {
    return axis == Axis::rows ? r : c / kernel;
  };
  std::vector<double> squares(static_cast<std::size_t>(magnitude.count()));
  for (std::int64_t r = 0; r < v.rows(); ++r) {
    for (std::int64_t c = 0; c < v.columns(); ++c)
      squares[static_cast<std::size_t>(index(r, c))] += v(r, c) * v(r, c);
  }
  return Matrix::generate(v.rows(), v.columns(), [&](std::int64_t r, std::int64_t c) {
    const std::int64_t i = index(r, c);
    return magnitude.data<float>()[i] * v(r, c) / std::sqrt(squares[static_cast<std::size_t>(i)]);
  });
}

/// A magnitude near the norms that weights of these tests have.
Tensor magnitude_of(const Shape& shape) {
  Tensor magnitude = uniform_tensor(shape, DType::f32, 21);
  for (float& value : magnitude.mutable_floats()) value += 2;
  return magnitude;
}

void expect_dora(const AdapterModule& inner, const std::string& suffix, const Tensor& magnitude,
                 Axis axis) {
  AdapterModule module = inner;
  module.add(suffix, magnitude);
  const Matrix weight = Matrix::of(module.weight());
  const std::int64_t kernel = weight.columns() / module.weight().size(1);
  const Matrix v = weight + Matrix::of(inner.change(1));
  const Matrix change = decomposed(v, magnitude, axis, kernel) - weight;
  for (const float strength : {1.0F, 0.5F, -0.7F}) {
    EXPECT_LT(relative_error(module.change(strength), static_cast<double>(strength) * change),
              kClose)
        << suffix << magnitude.shape().to_string();
  }
  const MadeDelta made = module.make();
  EXPECT_TRUE(made.delta->is_linear());
  EXPECT_TRUE(made.delta->needs_base());
  EXPECT_FALSE(made.delta->is_zero());
  EXPECT_EQ(made.delta->thin(), nullptr);
  EXPECT_THAT(made.algorithm, ::testing::StartsWith("DoRA "));
  EXPECT_THAT(made.unused, ::testing::IsEmpty());
}

void expect_every_axis(const AdapterModule& inner) {
  const Shape& weight = inner.weight().shape();
  const std::int64_t out = weight[0], in = weight[1];
  const bool is_conv = weight.rank() == 4;
  expect_dora(inner, "dora_scale", magnitude_of(is_conv ? Shape{out, 1, 1, 1} : Shape{out, 1}),
              Axis::rows);
  expect_dora(inner, "dora_scale", magnitude_of(is_conv ? Shape{1, in, 1, 1} : Shape{1, in}),
              Axis::channels);
  expect_dora(inner, "dora_scale", magnitude_of({out}), Axis::rows);
  expect_dora(inner, "magnitude", magnitude_of({out}), Axis::rows);
  expect_dora(inner, "lora_magnitude_vector", magnitude_of({out}), Axis::rows);
  expect_dora(inner, "lora_magnitude_vector.weight", magnitude_of({out}), Axis::rows);
  expect_dora(inner, "lora_magnitude_vector.default.weight",
              magnitude_of(is_conv ? Shape{1, out, 1, 1} : Shape{1, out}), Axis::rows);
}

/// Of either layer kind, square and not.
std::vector<Shape> shapes() {
  return {{12, 8}, {12, 12}, {12, 8, 3, 3}, {8, 8, 3, 3}, {6, 150}};
}

std::int64_t columns_of(const Shape& shape) {
  return shape.count() / shape[0];
}

TEST(Dora, AroundLora) {
  for (const Shape& shape : shapes()) {
    expect_every_axis(
        AdapterModule(shape)
            .add("lora_down.weight", uniform_tensor({4, columns_of(shape)}, DType::f16, 3))
            .add("lora_up.weight", uniform_tensor({shape[0], 4}, DType::f16, 4))
            .add("alpha", 2.0F));
  }
}

TEST(Dora, AroundTucker) {
  const Shape shape{12, 8, 3, 3};
  expect_every_axis(AdapterModule(shape)
                        .add("lora_down.weight", uniform_tensor({4, 8, 1, 1}, DType::f32, 3))
                        .add("lora_mid.weight", uniform_tensor({4, 4, 3, 3}, DType::f32, 5))
                        .add("lora_up.weight", uniform_tensor({12, 4, 1, 1}, DType::f32, 4))
                        .add("alpha", 2.0F));
}

TEST(Dora, AroundLoha) {
  for (const Shape& shape : shapes()) {
    expect_every_axis(AdapterModule(shape)
                          .add("hada_w1_a", uniform_tensor({shape[0], 3}, DType::f32, 3))
                          .add("hada_w1_b", uniform_tensor({3, columns_of(shape)}, DType::f32, 4))
                          .add("hada_w2_a", uniform_tensor({shape[0], 3}, DType::f32, 5))
                          .add("hada_w2_b", uniform_tensor({3, columns_of(shape)}, DType::f32, 6)));
  }
}

TEST(Dora, AroundLokr) {
  for (const Shape& shape : shapes()) {
    expect_every_axis(
        AdapterModule(shape)
            .add("lokr_w1", uniform_tensor({2, 2}, DType::f32, 3))
            .add("lokr_w2_a", uniform_tensor({shape[0] / 2, 3}, DType::f32, 5))
            .add("lokr_w2_b", uniform_tensor({3, columns_of(shape) / 2}, DType::f32, 6))
            .add("alpha", 1.0F));
  }
}

TEST(Dora, AroundGlora) {
  for (const Shape& shape : shapes()) {
    expect_every_axis(AdapterModule(shape)
                          .add("a1.weight", uniform_tensor({shape[1], 3}, DType::f32, 3))
                          .add("a2.weight", uniform_tensor({3, shape[1]}, DType::f32, 4))
                          .add("b1.weight", uniform_tensor({shape[0], 3}, DType::f32, 5))
                          .add("b2.weight", uniform_tensor({3, columns_of(shape)}, DType::f32, 6)));
  }
}

AdapterModule lora_on(const Shape& shape) {
  return AdapterModule(shape)
      .add("lora_down.weight", uniform_tensor({4, columns_of(shape)}, DType::f32, 3))
      .add("lora_up.weight", uniform_tensor({shape[0], 4}, DType::f32, 4));
}

TEST(Dora, ASmallChangeKeepsItsDigits) {
  // g = ‖V‖ but for a millionth: what is left is ΔW and that millionth.
  const AdapterModule inner = lora_on({12, 40}).add("scale", 1e-4F);
  const Matrix v = Matrix::of(inner.weight()) + Matrix::of(inner.change(1));
  std::vector<float> magnitude;
  for (std::int64_t r = 0; r < 12; ++r)
    magnitude.push_back(static_cast<float>(v.block(r, 0, 1, 40).norm() * (1 + 1e-6)));
  expect_dora(inner, "dora_scale", Tensor::from(magnitude, {12, 1}), Axis::rows);
}

TEST(Dora, AVOfZerosStaysZero) {
  AdapterModule module = AdapterModule({2, 3})
                             .add("lora_down.weight", Tensor::zeros({1, 3}, DType::f32))
                             .add("lora_up.weight", Tensor::zeros({2, 1}, DType::f32))
                             .add("dora_scale", magnitude_of({2, 1}));
  const lora::MadeDelta made = module.make();
  const Tensor change = made.delta->weight_change(
      [] {
        return Tensor::zeros({2, 3}, DType::f32);
      },
      1, 0);
  for (const float value : change.floats()) EXPECT_EQ(value, 0);
}

TEST(Dora, WhatDoesNotFitIsNamed) {
  using ::testing::HasSubstr;
  const auto refused = [](const Shape& weight, const std::string& suffix, const Shape& magnitude) {
    const auto [kind, text] = lora_on(weight).add(suffix, magnitude_of(magnitude)).error();
    EXPECT_EQ(kind, ErrorKind::mismatch) << magnitude.to_string();
    EXPECT_THAT(text, HasSubstr("magnitude " + magnitude.to_string()));
  };
  refused({12, 8}, "dora_scale", {8});
  refused({12, 8}, "dora_scale", {1, 12});
  refused({12, 8}, "dora_scale", {8, 1});
  refused({12, 8}, "dora_scale", {3, 4});
  refused({12, 8}, "dora_scale", {});
  refused({12, 8, 3, 3}, "dora_scale", {1, 72});
  refused({12, 8}, "lora_magnitude_vector", {1, 8});
  refused({12, 8}, "magnitude", {0});
}

}  // namespace
}  // namespace velatura::lora
