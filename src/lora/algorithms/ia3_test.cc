#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/adapter_module.h"

namespace velatura::lora {
namespace {

using testing::AdapterModule;
using testing::Matrix;
using testing::relative_error;
using testing::uniform_tensor;

constexpr double kClose = 1e-6;

enum class Axis { rows, channels };

/// m · (W ∘ w − unit · W), `kernel` elements a channel.
void expect_change(const AdapterModule& module, const Tensor& vector, Axis axis, double unit) {
  const Matrix weight = Matrix::of(module.weight());
  const std::int64_t kernel = weight.columns() / module.weight().size(1);
  for (const float strength : {1.0F, 0.5F, -0.7F}) {
    const Matrix expected =
        Matrix::generate(weight.rows(), weight.columns(), [&](std::int64_t r, std::int64_t c) {
          const double w = vector.data<float>()[axis == Axis::rows ? r : c / kernel];
          return strength * (weight(r, c) * w - unit * weight(r, c));
        });
    EXPECT_LT(relative_error(module.change(strength), expected), kClose);
  }
  EXPECT_TRUE(module.make().delta->is_linear());
  EXPECT_TRUE(module.make().delta->needs_base());
}

TEST(Ia3, LycorisAddsToOne) {
  for (const DType type : {DType::f32, DType::f16}) {
    const auto module = [&](const Shape& weight, const Tensor& vector, float on_input) {
      return AdapterModule(weight).add("weight", from_f32(vector, type)).add("on_input", on_input);
    };
    const auto rounded = [&](const Shape& shape) {
      return to_f32(from_f32(uniform_tensor(shape, DType::f32, 3), type));
    };
    const Tensor rows = rounded({8, 1}), kernel_rows = rounded({8, 1, 1, 1}),
                 channels = rounded({1, 6}), kernel_channels = rounded({1, 6, 1, 1}),
                 flat = rounded({6}), square = rounded({1, 8});
    expect_change(module({8, 6}, rows, 0), rows, Axis::rows, 0);
    expect_change(module({8, 6, 3, 3}, kernel_rows, 0), kernel_rows, Axis::rows, 0);
    expect_change(module({8, 6}, channels, 1), channels, Axis::channels, 0);
    expect_change(module({8, 6, 3, 3}, kernel_channels, 1), kernel_channels, Axis::channels, 0);
    expect_change(module({8, 6}, flat, 1), flat, Axis::channels, 0);
    expect_change(module({8, 8}, square, 0), square, Axis::rows, 0);
  }
}

TEST(Ia3, PeftMultiplies) {
  const Tensor rows = uniform_tensor({8, 1}, DType::f32, 3),
               channels = uniform_tensor({1, 6}, DType::f32, 3),
               square = uniform_tensor({1, 8}, DType::f32, 3),
               kernel_rows = uniform_tensor({1, 8, 1, 1}, DType::f32, 3);
  expect_change(AdapterModule({8, 6}).add("ia3_l", rows), rows, Axis::rows, 1);
  expect_change(AdapterModule({8, 8}).add("ia3_l", rows), rows, Axis::rows, 1);
  expect_change(AdapterModule({8, 6}).add("ia3_l", channels), channels, Axis::channels, 1);
  expect_change(AdapterModule({8, 8}).add("ia3_l", square), square, Axis::channels, 1);
  expect_change(AdapterModule({8, 6, 3, 3}).add("ia3_l", kernel_rows), kernel_rows, Axis::rows, 1);
}

TEST(Ia3, PeftMultipliesTheBiasWithTheOutputsAndLycorisNothingButTheWeight) {
  const Tensor rows = uniform_tensor({8, 1}, DType::f32, 3),
               kernel_rows = uniform_tensor({1, 8, 1, 1}, DType::f32, 3),
               channels = uniform_tensor({1, 6}, DType::f32, 3);
  for (const auto& module : {AdapterModule({8, 6}).with_bias().add("ia3_l", rows),
                             AdapterModule({8, 6, 3, 3}).with_bias().add("ia3_l", kernel_rows)}) {
    for (const float strength : {1.0F, 0.5F, -0.7F}) {
      const Tensor change = module.make().delta->bias_change(module.bias_base(), strength);
      ASSERT_EQ(change.shape(), (Shape{8}));
      for (std::size_t o = 0; o < 8; ++o) {
        const double expected = static_cast<double>(strength) * module.bias().floats()[o] *
                                (static_cast<double>(rows.floats()[o]) - 1);
        EXPECT_NEAR(change.floats()[o], expected, kClose * (1 + std::abs(expected)));
      }
    }
  }
  const auto of = [](const AdapterModule& module) {
    return module.make().delta->bias_change(testing::no_base, 1);
  };
  EXPECT_FALSE(of(AdapterModule({8, 6}).with_bias().add("ia3_l", channels)).defined());
  EXPECT_FALSE(of(AdapterModule({8, 6}).add("ia3_l", rows)).defined()) << "no bias";
  for (const float on_input : {0.0F, 1.0F}) {
    const auto lycoris = AdapterModule({8, 6})
                             .with_bias()
                             .add("weight", on_input == 0 ? rows : channels)
                             .add("on_input", on_input);
    EXPECT_FALSE(of(lycoris).defined());
  }
}

TEST(Ia3, OnesOfPeftAndZerosOfLycorisChangeNothing) {
  const Tensor ones = Tensor::from(std::vector<float>(8, 1.0F), {8, 1});
  EXPECT_TRUE(AdapterModule({8, 6}).add("ia3_l", ones).make().delta->is_zero());
  const Tensor zeros = Tensor::zeros({8, 1}, DType::f32);
  EXPECT_TRUE(
      AdapterModule({8, 6}).add("weight", zeros).add("on_input", 0.0F).make().delta->is_zero());
}

TEST(Ia3, WhatDoesNotFitIsNamed) {
  using ::testing::HasSubstr;
  for (const Shape& shape : {Shape{7}, Shape{8, 6}, Shape{2, 4}, Shape{}, Shape{0}, Shape{1, 7}}) {
    const auto [kind, text] =
        AdapterModule({8, 6}).add("ia3_l", uniform_tensor(shape, DType::f32, 1)).error();
    EXPECT_EQ(kind, ErrorKind::mismatch) << shape.to_string();
    EXPECT_THAT(text, HasSubstr(shape.to_string()));
  }
  const auto [kind, text] = AdapterModule({8, 6})
                                .add("weight", uniform_tensor({8, 1}, DType::f32, 1))
                                .add("on_input", 1.0F)
                                .error();
  EXPECT_EQ(kind, ErrorKind::mismatch);
  EXPECT_THAT(text, HasSubstr("6 values"));
}

}  // namespace
}  // namespace velatura::lora
