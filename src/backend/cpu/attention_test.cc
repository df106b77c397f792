// The cpu backend's attention against softmax(scale · q·kᵀ)·v in double precision: every kernel, on
// every instruction set that this machine has.
#include "backend/cpu/attention.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "backend/cpu/kernels/attention.h"

namespace velatura::backend::cpu {
namespace {

using kernels::AttentionKernel;

struct Case {
  std::int64_t batch, heads, queries, keys, width;
  bool causal = false;
  float spread = 1;  ///< standard deviation of queries and keys
  float sign = 1;    ///< of the scale
};

std::string name_of(const Case& c, DType type) {
  return std::to_string(c.batch) + "x" + std::to_string(c.heads) + " heads, " +
         std::to_string(c.queries) + " queries, " + std::to_string(c.keys) + " keys, width " +
         std::to_string(c.width) + (c.causal ? ", causal" : "") + ", spread " +
         std::to_string(c.spread) + ", " + std::string(to_string(type));
}

Tensor random_tensor(const Shape& shape, float spread, std::mt19937& random, DType type) {
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> values(static_cast<std::size_t>(shape.count()));
  for (float& value : values) value = normal(random);
  return from_f32(Tensor::from(values, shape), type);
}

/// The exact result, and for each output Σ w·|v|: the size that rounding of scores, weights and
/// sums is relative to.
struct Exact {
  std::vector<double> y, magnitude, score_error;
};

Exact exact_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Case& c,
                      double scale) {
  const std::int64_t stride = c.heads * c.width;
  const auto at = [&](std::int64_t n, std::int64_t length, std::int64_t row, std::int64_t h) {
    return static_cast<std::size_t>((n * length + row) * stride + h * c.width);
  };
  Exact exact;
  exact.y.resize(static_cast<std::size_t>(q.count()));
  exact.magnitude.resize(exact.y.size());
  exact.score_error.resize(exact.y.size());
  const auto qs = q.floats(), ks = k.floats(), vs = v.floats();
  for (std::int64_t n = 0; n < c.batch; ++n) {
    for (std::int64_t h = 0; h < c.heads; ++h) {
      for (std::int64_t i = 0; i < c.queries; ++i) {
        const std::int64_t seen = c.causal ? std::min(c.keys, i + 1) : c.keys;
        std::vector<double> weights(static_cast<std::size_t>(seen));
        const std::size_t row = at(n, c.queries, i, h);
        double largest_product = 0;
        for (std::int64_t j = 0; j < seen; ++j) {
          const std::size_t key = at(n, c.keys, j, h);
          double dot = 0, product = 0;
          for (std::size_t e = 0; e < static_cast<std::size_t>(c.width); ++e) {
            dot += double{qs[row + e]} * ks[key + e];
            product += std::abs(double{qs[row + e]} * ks[key + e]);
          }
          weights[static_cast<std::size_t>(j)] = dot * scale;
          largest_product = std::max(largest_product, product * std::abs(scale));
        }
        const double maximum = *std::max_element(weights.begin(), weights.end());
        double total = 0;
        for (double& weight : weights) total += weight = std::exp(weight - maximum);
        for (std::size_t e = 0; e < static_cast<std::size_t>(c.width); ++e) {
          double sum = 0, magnitude = 0;
          for (std::int64_t j = 0; j < seen; ++j) {
            const double value = vs[at(n, c.keys, j, h) + e];
            sum += weights[static_cast<std::size_t>(j)] * value;
            magnitude += weights[static_cast<std::size_t>(j)] * std::abs(value);
          }
          exact.y[row + e] = sum / total;
          exact.magnitude[row + e] = magnitude / total;
          exact.score_error[row + e] = largest_product;
        }
      }
    }
  }
  return exact;
}

void expect_close(const Case& c, DType type, const AttentionKernel* kernel = nullptr) {
  std::mt19937 random(static_cast<unsigned>(c.queries * 31 + c.keys * 7 + c.width));
  const Shape query_shape{c.batch, c.queries, c.heads * c.width};
  const Shape key_shape{c.batch, c.keys, c.heads * c.width};
  const Tensor q = random_tensor(query_shape, c.spread, random, type);
  const Tensor k = random_tensor(key_shape, c.spread, random, type);
  const Tensor v = random_tensor(key_shape, 1.0f, random, type);
  Tensor y = Tensor::allocate(query_shape, type);
  const float scale = c.sign / std::sqrt(static_cast<float>(c.width));
  const ops::AttentionArgs args{
      .heads = static_cast<int>(c.heads), .causal = c.causal, .scale = scale};
  if (kernel) {
    attend_with(*kernel, q, k, v, args, y);
  } else {
    cpu_attention(q, k, v, args, y);
  }

  const Tensor found = to_f32(y);
  const Exact exact = exact_attention(to_f32(q), to_f32(k), to_f32(v), c, scale);
  // A score is a sum of `width` products in f32, off by at most (width + 2) roundings of
  // Σ|q·k|·scale; a weight is off by that much relatively, numerator and denominator alike, so
  // twice. Then come the exponential's own rounding and the sums over keys. In bf16 weights and
  // result are rounded to 8 significant bits (2⁻⁸ at most) and the exponential is good to 2⁻¹³
  // twice.
  const double f32 = std::ldexp(1.0, -24), bf16 = std::ldexp(1.0, -8);
  for (std::size_t e = 0; e < exact.y.size(); ++e) {
    const double relative =
        2 * std::expm1(static_cast<double>(c.width + 2) * f32 * exact.score_error[e]) +
        (16 + static_cast<double>(c.keys)) * f32 +
        (type == DType::bf16 ? bf16 + std::ldexp(1.0, -12) : 0.0);
    const double tolerance =
        relative * exact.magnitude[e] + (type == DType::bf16 ? bf16 : f32) * std::abs(exact.y[e]);
    const double error = std::abs(double{found.floats()[e]} - exact.y[e]);
    ASSERT_LE(error, tolerance) << name_of(c, type) << ", element " << e << ": expected "
                                << exact.y[e] << ", found " << found.floats()[e];
  }
}

const Case kCases[] = {
    {1, 1, 1, 1, 1},      {1, 1, 1, 1, 40},     {1, 2, 3, 5, 4},      {2, 3, 33, 77, 40},
    {1, 1, 64, 64, 160},  {1, 2, 65, 63, 56},   {2, 2, 100, 129, 80}, {1, 1, 130, 1, 40},
    {1, 1, 7, 300, 512},  {1, 5, 17, 31, 7},    {1, 1, 257, 513, 40}, {1, 3, 48, 1025, 8},
    {1, 2, 16, 33, 1},    {1, 1, 31, 2049, 24}, {1, 1, 40, 70, 600},  {1, 1, 12, 90, 128},
    {1, 1, 600, 700, 64},
};

const Case kCausalCases[] = {
    {1, 1, 1, 1, 64, true},  {2, 4, 77, 77, 64, true},  {1, 2, 130, 130, 40, true},
    {1, 1, 33, 20, 8, true}, {1, 1, 20, 300, 16, true}, {1, 1, 700, 700, 4, true},
};

/// Scores of many thousands: without subtracting the row's maximum the exponential overflows.
const Case kHugeScores[] = {{1, 2, 40, 200, 40, false, 30},
                            {1, 1, 20, 600, 8, false, 200},
                            {1, 1, 50, 50, 64, true, 100},
                            {1, 2, 40, 200, 40, false, 30, -1}};

TEST(CpuAttention, MatchesDoublePrecision) {
  for (const Case& c : kCases) {
    for (const DType type : {DType::f32, DType::bf16}) expect_close(c, type);
  }
}

TEST(CpuAttention, CausalQueriesSeeNoLaterKey) {
  for (const Case& c : kCausalCases) {
    for (const DType type : {DType::f32, DType::bf16}) expect_close(c, type);
  }
}

TEST(CpuAttention, HugeScoresDoNotOverflow) {
  for (const Case& c : kHugeScores) {
    for (const DType type : {DType::f32, DType::bf16}) expect_close(c, type);
  }
}

/// Makes Highway choose `targets` while it lives.
class OnTargets {
 public:
  explicit OnTargets(std::int64_t targets) { hwy::SetSupportedTargetsForTest(targets); }
  ~OnTargets() { hwy::SetSupportedTargetsForTest(0); }
  OnTargets(const OnTargets&) = delete;
  OnTargets& operator=(const OnTargets&) = delete;
};

TEST(CpuAttention, EveryInstructionSetComputesInF32) {
  const std::int64_t supported = hwy::SupportedTargets();
  for (std::int64_t left = supported; left != 0; left &= left - 1) {
    const OnTargets on(left & -left);
    const auto expect_all = [](const auto& cases) {
      for (const Case& c : cases) {
        expect_close(c, DType::f32, &kernels::f32_attention());
        expect_close(c, DType::bf16, &kernels::converted_bf16_attention());
      }
    };
    expect_all(kCases);
    expect_all(kCausalCases);
    expect_all(kHugeScores);
  }
}

/// What a query must not see cannot change a bit of its result.
TEST(CpuAttention, LaterKeysDoNotMatterToCausalQueries) {
  constexpr std::int64_t kLength = 150, kKept = 67, kWidth = 40;
  for (const DType type : {DType::f32, DType::bf16}) {
    std::mt19937 random(1);
    const Shape shape{1, kLength, kWidth};
    const Tensor q = random_tensor(shape, 1, random, type);
    Tensor k = random_tensor(shape, 1, random, type), v = random_tensor(shape, 1, random, type);
    const ops::AttentionArgs args{.heads = 1, .causal = true, .scale = 0.2f};
    Tensor before = Tensor::allocate(shape, type), after = Tensor::allocate(shape, type);
    cpu_attention(q, k, v, args, before);
    const Tensor other = random_tensor(shape, 20, random, type);
    const std::size_t kept = static_cast<std::size_t>(kKept * kWidth) * size_of(type);
    for (Tensor* changed : {&k, &v}) {
      std::memcpy(changed->mutable_bytes() + kept, other.bytes() + kept, other.byte_size() - kept);
    }
    cpu_attention(q, k, v, args, after);
    EXPECT_EQ(std::memcmp(before.bytes(), after.bytes(), kept), 0) << to_string(type);
  }
}

TEST(CpuAttention, BitsDoNotDependOnThreads) {
  constexpr std::int64_t kLength = 200, kWidth = 40, kHeads = 3;
  const int threads = omp_get_max_threads();
  for (const DType type : {DType::f32, DType::bf16}) {
    std::mt19937 random(2);
    const Shape shape{2, kLength, kWidth * kHeads};
    const Tensor q = random_tensor(shape, 1, random, type);
    const Tensor k = random_tensor(shape, 1, random, type);
    const Tensor v = random_tensor(shape, 1, random, type);
    const ops::AttentionArgs args{.heads = kHeads, .scale = 0.2f};
    Tensor alone = Tensor::allocate(shape, type), together = Tensor::allocate(shape, type);
    omp_set_num_threads(1);
    cpu_attention(q, k, v, args, alone);
    omp_set_num_threads(5);
    cpu_attention(q, k, v, args, together);
    omp_set_num_threads(threads);
    EXPECT_EQ(std::memcmp(alone.bytes(), together.bytes(), alone.byte_size()), 0)
        << to_string(type);
  }
}

}  // namespace
}  // namespace velatura::backend::cpu
