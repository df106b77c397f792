#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/adapter_module.h"
#include "tests/support/test_folder.h"

// The formulas of lora-formats §1.10 in double, beside what the library makes of the same tensors.
namespace velatura::lora {
namespace {

namespace fs = std::filesystem;

using testing::AdapterModule;
using testing::Matrix;
using testing::relative_error;
using testing::uniform_tensor;

constexpr double kClose = 1e-6;
constexpr float kStrengths[] = {1, 0.5F, -0.7F};

/// The entries above the diagonal, row by row, minus their transpose.
Matrix skew(const Tensor& stored, std::int64_t index, std::int64_t b) {
  Matrix q(b, b);
  std::int64_t entry = index * stored.size(1);
  for (std::int64_t i = 0; i < b; ++i) {
    for (std::int64_t j = i + 1; j < b; ++j, ++entry) {
      q(i, j) = stored.data<float>()[entry];
      q(j, i) = -q(i, j);
    }
  }
  return q;
}

Matrix five_terms(const Matrix& q) {
  return Matrix::identity(q.rows()) + 2.0 * q + 2.0 * (q * q) + 2.0 * (q * q * q) + q * q * q * q;
}

/// (I − Q)(I + Q)⁻¹.
Matrix exact(const Matrix& q) {
  const Matrix one = Matrix::identity(q.rows());
  return (one - q) * (one + q).inverse();
}

/// Block-diagonal over `columns`; one block set may serve all.
Matrix diagonal(const Tensor& stored, std::int64_t b, std::int64_t columns, double scale,
                Matrix (*rotation)(const Matrix&)) {
  Matrix result(columns, columns);
  for (std::int64_t d = 0; d < columns / b; ++d) {
    const Matrix r = rotation(scale * skew(stored, d % stored.size(0), b));
    for (std::int64_t i = 0; i < b; ++i) {
      for (std::int64_t j = 0; j < b; ++j) result(d * b + i, d * b + j) = r(i, j);
    }
  }
  return result;
}

void expect_change(const AdapterModule& module, const Matrix& factor) {
  const Matrix weight = Matrix::of(module.weight());
  const Matrix change = weight * factor - weight;
  for (const float strength : kStrengths)
    EXPECT_LT(relative_error(module.change(strength), static_cast<double>(strength) * change),
              kClose);
}

/// A folder with an adapter_config.json, as PEFT saves.
class OftV2 : public ::testing::Test {
 protected:
  fs::path with_config(const std::string& json) const {
    std::ofstream(folder_ / "adapter_config.json") << json;
    return folder_ / "adapter_model.safetensors";
  }
  testing::TestFolder folder_;
};

TEST_F(OftV2, TurnsColumnsByTheSeries) {
  for (const std::int64_t n : {3, 1}) {
    const Tensor stored = uniform_tensor({n, 6}, DType::f32, 4);
    const AdapterModule module = AdapterModule({17, 12}).add("oft_R.weight", stored);
    expect_change(module, diagonal(stored, 4, 12, 1, five_terms).transposed());
    EXPECT_TRUE(module.make().delta->is_linear());
    EXPECT_TRUE(module.make().delta->needs_base());
    EXPECT_EQ(module.make().delta->rank(), n);
  }
}

TEST_F(OftV2, OneTrainerTurnsConvolutionsTheOtherWay) {
  const Tensor stored = uniform_tensor({9, 6}, DType::f32, 4);
  const AdapterModule bare = AdapterModule({8, 4, 3, 3}).add("oft_R.weight", stored);
  expect_change(bare, diagonal(stored, 4, 36, 1, five_terms));
  const AdapterModule peft =
      AdapterModule({8, 4, 3, 3}).named("base_model.model.conv1").add("oft_R.weight", stored);
  expect_change(peft, diagonal(stored, 4, 36, 1, five_terms).transposed());
}

TEST_F(OftV2, ScaledEntriesAreDividedByTheBlock) {
  const Tensor stored = uniform_tensor({2, 15}, DType::f32, 4);
  const AdapterModule module =
      AdapterModule({5, 12}).add("oft_R.weight", stored).add("oft_R.scaled_oft", 1.0F);
  expect_change(module, diagonal(stored, 6, 12, 1 / (2 * std::sqrt(5.0)), five_terms).transposed());
}

TEST_F(OftV2, TheExactFormIsAskedForBesideTheFile) {
  const Tensor stored = uniform_tensor({3, 6}, DType::f32, 4);
  const AdapterModule module =
      AdapterModule({17, 12})
          .at(with_config(R"json({"peft_type": "OFT", "use_cayley_neumann": false})json"))
          .named("base_model.model.to_q")
          .add("oft_R.weight", stored);
  expect_change(module, diagonal(stored, 4, 12, 1, exact).transposed());
}

TEST_F(OftV2, TheNumberOfTermsIsHonoured) {
  const Tensor stored = uniform_tensor({3, 6}, DType::f32, 4);
  const auto check = [&](int terms, Matrix (*rotation)(const Matrix&)) {
    const std::string json = "{\"num_cayley_neumann_terms\": " + std::to_string(terms) + "}";
    const AdapterModule module =
        AdapterModule({17, 12}).at(with_config(json)).add("oft_R.weight", stored);
    expect_change(module, diagonal(stored, 4, 12, 1, rotation).transposed());
  };
  const auto four = [](const Matrix& q) {
    return Matrix::identity(q.rows()) + 2.0 * q + 2.0 * (q * q) + q * q * q;
  };
  check(2, [](const Matrix& q) { return Matrix::identity(q.rows()) + 2.0 * q; });
  check(3, four);  // as PEFT's loop has it
  check(4, four);
  check(5, five_terms);
  check(7, [](const Matrix& q) {
    const Matrix q3 = q * q * q;
    return Matrix::identity(q.rows()) + 2.0 * q + 2.0 * (q * q) + 2.0 * q3 + 2.0 * (q3 * q) +
           2.0 * (q3 * q * q) + q3 * q3;
  });
}

TEST_F(OftV2, ConstrainedRotationsAreHeldWithinEps) {
  const Tensor stored = uniform_tensor({3, 6}, DType::f32, 4);
  const AdapterModule module = AdapterModule({17, 12})
                                   .at(with_config(R"json({"coft": true, "eps": 0.25})json"))
                                   .add("oft_R.weight", stored);
  Matrix factor(12, 12);
  for (std::int64_t d = 0; d < 3; ++d) {
    Matrix q = skew(stored, d, 4);
    const double limit = 0.25 / std::sqrt(3.0);
    if (q.norm() > limit) q = limit / q.norm() * q;
    const Matrix r = five_terms(q);
    for (std::int64_t i = 0; i < 4; ++i) {
      for (std::int64_t j = 0; j < 4; ++j) factor(d * 4 + i, d * 4 + j) = r(j, i);
    }
  }
  expect_change(module, factor);
}

TEST_F(OftV2, WhatDoesNotFitIsNamed) {
  using ::testing::HasSubstr;
  for (const Shape& shape : {Shape{2, 6}, Shape{3, 5}, Shape{3, 0}, Shape{0, 6}, Shape{18},
                             Shape{3, 6, 1}, Shape{1, 10}}) {
    const auto [kind, text] =
        AdapterModule({17, 12}).add("oft_R.weight", uniform_tensor(shape, DType::f32, 1)).error();
    EXPECT_EQ(kind, ErrorKind::mismatch) << shape.to_string();
    EXPECT_THAT(text, HasSubstr(shape.to_string()));
  }
  Tensor huge = uniform_tensor({3, 6}, DType::f32, 1);
  for (float& value : huge.mutable_floats()) value *= 1e20F;
  const auto [kind, text] = AdapterModule({17, 12}).add("oft_R.weight", huge).error();
  EXPECT_EQ(kind, ErrorKind::bad_file);
  EXPECT_THAT(text, HasSubstr("beyond float32"));
}

}  // namespace
}  // namespace velatura::lora
