// attention against the reference.
#include <cmath>

#include "ops/attention.h"
#include "tests/support/against_reference.h"

namespace velatura::backend::cpu {
namespace {

using testing::compute_types;
using testing::epsilon_of;
using testing::expect_agreement;
using testing::for_each_case;
using testing::kInputDeviation;
using testing::kWorst;
using testing::parse_shapes;
using testing::result_rounding;
using testing::ShapeCase;
using testing::Side;
using testing::Tolerance;
using testing::uniform_tensor;

/// The result is a mean of values of at most 1 with weights p that sum to 1. In f32 a score, a sum
/// over `width` of deviation ~√width/3 before its scale, errs by ε·√width of that, which is a
/// relative error of its weight; sums and exponentials add some ε. In bf16, queries, weights and
/// values may be rounded before the second product: errors of ε/2 of a value, averaged over
/// `effective` keys as ‖p‖₂ ≈ 1/√effective (scores are small, so p is nearly even).
Tolerance attention_tolerance(std::int64_t effective, std::int64_t width, float scale, DType type) {
  const double score_error = static_cast<double>(width) / 3 * static_cast<double>(scale);
  Tolerance tolerance{kWorst * epsilon_of(DType::f32) * (score_error + 2), result_rounding(type)};
  if (type == DType::bf16) {
    constexpr int kRoundedFactors = 2;
    tolerance.absolute += kRoundedFactors * kWorst * epsilon_of(type) / 2 * kInputDeviation *
                          kInputDeviation / std::sqrt(static_cast<double>(effective));
  }
  return tolerance;
}

void compare(const ShapeCase& shape, DType type, float scale) {
  const std::int64_t batch = shape.get("batch"), heads = shape.get("heads");
  const std::int64_t keys = shape.get("keys"), width = shape.get("width");
  const bool causal = shape.get("causal", 0) != 0;
  const Tensor q = uniform_tensor({batch, shape.get("queries"), heads * width}, type, 1);
  const Tensor k = uniform_tensor({batch, keys, heads * width}, type, 2);
  const Tensor v = uniform_tensor({batch, keys, heads * width}, type, 3);
  const ops::AttentionArgs args{.heads = static_cast<int>(heads), .causal = causal, .scale = scale};
  const float used = scale == 0 ? 1 / std::sqrt(static_cast<float>(width)) : scale;
  // The first token of a causal mask sees one key.
  expect_agreement(type, attention_tolerance(causal ? 1 : keys, width, used, type),
                   [&](ops::Context& context) { return ops::attention(context, q, k, v, args); });
}

TEST(OpsAgainstReference, Attention) {
  for_each_case("attention", [](const ShapeCase& shape, DType type) { compare(shape, type, 0); });
}

TEST(OpsAgainstReference, AttentionWithItsOwnScale) {
  const ShapeCase shape = parse_shapes("batch=1 queries=20 keys=45 heads=2 width=24").front();
  for (const DType type : compute_types()) compare(shape, type, 0.05f);
}

/// One key has all the weight, whatever its score: the result is its value, but for f32's rounding,
/// which is far below bf16's.
TEST(OpsAgainstReference, AttentionToOneKeyIsItsValue) {
  for (const DType type : compute_types()) {
    SCOPED_TRACE(to_string(type));
    Side side(make_cpu_backend(), type);
    const Tensor v = uniform_tensor({2, 1, 80}, type, 3);
    const Tensor y = ops::attention(side.context(), uniform_tensor({2, 1, 80}, type, 1),
                                    uniform_tensor({2, 1, 80}, type, 2), v, {.heads = 2});
    EXPECT_TRUE(testing::within(y, v, {0, 4 * epsilon_of(DType::f32)}));
  }
}

/// Scores of some ±100: exponentials overflow unless the largest score is subtracted, tile by tile.
/// One key then has all the weight, and the result is its value.
TEST(OpsAgainstReference, AttentionWithLargeScores) {
  const std::int64_t keys = 700, width = 32;
  for (const DType type : compute_types()) {
    Tensor k_values = Tensor::zeros({1, keys, width}, DType::f32);
    for (std::int64_t j = 0; j < keys; ++j) {
      k_values.mutable_floats()[static_cast<std::size_t>(j * width)] =
          static_cast<float>(j * 389 % keys) - static_cast<float>(keys) / 2;
    }
    Tensor q_values = Tensor::zeros({1, 2, width}, DType::f32);
    q_values.mutable_floats()[0] = 8;
    q_values.mutable_floats()[static_cast<std::size_t>(width)] = -8;
    const Tensor q = from_f32(q_values, type), k = from_f32(k_values, type);
    const Tensor v = uniform_tensor({1, keys, width}, type, 3);
    const ops::AttentionArgs args{.heads = 1, .scale = 4};
    expect_agreement(type, {kWorst * epsilon_of(DType::f32), result_rounding(type)},
                     [&](ops::Context& context) { return ops::attention(context, q, k, v, args); });
  }
}

}  // namespace
}  // namespace velatura::backend::cpu
