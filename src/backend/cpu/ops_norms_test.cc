// group_norm and layer_norm against the reference.
#include <algorithm>
#include <cmath>

#include "ops/norm.h"
#include "tests/support/against_reference.h"

namespace velatura::backend::cpu {
namespace {

using ops::Activation;
using testing::epsilon_of;
using testing::expect_agreement;
using testing::for_each_case;
using testing::kWorst;
using testing::result_rounding;
using testing::ShapeCase;
using testing::Tolerance;
using testing::uniform_tensor;

constexpr float kEpsilon = 1e-5f;

/// Adds a constant to every value, still in the tensor's type.
Tensor shifted(const Tensor& x, float by) {
  Tensor values = to_f32(x).clone();
  for (float& value : values.mutable_floats()) value += by;
  return from_f32(values, x.dtype());
}

/// A normalised value is (x + added − mean) / deviation: the roundings of the sum and of the mean,
/// ε of the largest magnitude, grow by the largest 1 / deviation of any group. gamma is at most 1;
/// beta and the result add roundings at their own magnitude.
Tolerance norm_tolerance(double largest, double inverse_deviation, DType type) {
  const double amplified = largest * inverse_deviation;
  return {kWorst * epsilon_of(DType::f32) * (amplified + 2), result_rounding(type)};
}

/// 1 / √(variance + ε) of the values that `take(i)` gives for i < count.
template <typename Take>
double inverse_deviation(std::int64_t count, const Take& take) {
  double sum = 0, squares = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += take(i);
  const double mean = sum / static_cast<double>(count);
  for (std::int64_t i = 0; i < count; ++i) squares += (take(i) - mean) * (take(i) - mean);
  return 1 / std::sqrt(squares / static_cast<double>(count) + static_cast<double>(kEpsilon));
}

/// The largest 1 / deviation of any group.
double worst_group(const Tensor& x, const Tensor* channel_add, std::int64_t groups) {
  const Tensor values = to_f32(x);
  const Tensor added = channel_add ? to_f32(*channel_add) : Tensor();
  const std::int64_t channels = x.size(3), pixels = x.size(1) * x.size(2);
  const std::int64_t width = channels / groups;
  double worst = 0;
  for (std::int64_t group = 0; group < x.size(0) * groups; ++group) {
    const std::int64_t picture = group / groups, first = group % groups * width;
    const auto take = [&](std::int64_t i) {
      const std::int64_t pixel = picture * pixels + i / width, channel = first + i % width;
      const float add = channel_add ? added.data<float>()[picture * channels + channel] : 0.0f;
      return static_cast<double>(values.data<float>()[pixel * channels + channel] + add);
    };
    worst = std::max(worst, inverse_deviation(pixels * width, take));
  }
  return worst;
}

void compare_group_norm(const ShapeCase& shape, DType type, float offset) {
  const std::int64_t channels = shape.get("channels"), groups = shape.get("groups");
  const Tensor x =
      shifted(uniform_tensor(
                  {shape.get("batch"), shape.get("height"), shape.get("width"), channels}, type, 1),
              offset);
  const Tensor gamma = uniform_tensor({channels}, DType::f32, 2);
  const Tensor beta = uniform_tensor({channels}, DType::f32, 3);
  const Tensor channel_add = uniform_tensor({shape.get("batch"), channels}, type, 4);
  const Tensor* add = shape.get("channel_add", 0) ? &channel_add : nullptr;
  const ops::GroupNormArgs args{.gamma = gamma,
                                .beta = beta,
                                .groups = static_cast<int>(groups),
                                .epsilon = kEpsilon,
                                .activation = shape.word("activation", "none") == "silu"
                                                  ? Activation::silu
                                                  : Activation::none,
                                .channel_add = add};
  const Tolerance tolerance =
      norm_tolerance(std::abs(offset) + 2, worst_group(x, add, groups), type);
  expect_agreement(type, tolerance,
                   [&](ops::Context& context) { return ops::group_norm(context, x, args); });
}

void compare_layer_norm(const ShapeCase& shape, DType type, float offset) {
  const std::int64_t rows = shape.get("rows"), channels = shape.get("channels");
  const Tensor x = shifted(uniform_tensor({rows, channels}, type, 1), offset);
  const Tensor gamma = uniform_tensor({channels}, DType::f32, 2);
  const Tensor beta = uniform_tensor({channels}, DType::f32, 3);
  const Tensor values = to_f32(x);
  double worst = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    const float* from = values.data<float>() + row * channels;
    worst = std::max(worst, inverse_deviation(channels, [from](std::int64_t i) {
                       return static_cast<double>(from[i]);
                     }));
  }
  expect_agreement(
      type, norm_tolerance(std::abs(offset) + 1, worst, type),
      [&](ops::Context& context) { return ops::layer_norm(context, x, gamma, beta, kEpsilon); });
}

TEST(OpsAgainstReference, GroupNorm) {
  for_each_case("group_norm",
                [](const ShapeCase& shape, DType type) { compare_group_norm(shape, type, 0); });
}

TEST(OpsAgainstReference, LayerNorm) {
  for_each_case("layer_norm",
                [](const ShapeCase& shape, DType type) { compare_layer_norm(shape, type, 0); });
}

/// E[x²] − E[x]² would lose all digits here; the tolerance asks for what two passes lose.
TEST(OpsAgainstReference, NormsFarFromZero) {
  for_each_case("group_norm",
                [](const ShapeCase& shape, DType type) { compare_group_norm(shape, type, 200); });
  for_each_case("layer_norm",
                [](const ShapeCase& shape, DType type) { compare_layer_norm(shape, type, -200); });
}

}  // namespace
}  // namespace velatura::backend::cpu
