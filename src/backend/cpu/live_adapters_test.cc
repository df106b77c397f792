// linear_low_rank against the same formula in f32 on the reference, both ways it is computed in.
#include <bit>
#include <cmath>
#include <vector>

#include "backend/cpu/primitive_table.h"
#include "ops/elementwise.h"
#include "ops/low_rank.h"
#include "tests/support/against_reference.h"

namespace velatura::backend::cpu {
namespace {

using ops::Activation;
using ops::Weight;
using testing::compute_types;
using testing::epsilon_of;
using testing::kInputDeviation;
using testing::kWorst;
using testing::Side;
using testing::Tolerance;
using testing::uniform_tensor;

struct Layer {
  std::int64_t pictures, rows, in, out, rank;
  Activation activation = Activation::none;
};

/// Inputs rounded to the compute type on both sides, so that what differs is the computation.
struct Inputs {
  Inputs(const Layer& l, DType type)
      : x(uniform_tensor({l.pictures, l.rows, l.in}, type, 1)),
        weight(uniform_tensor({l.out, l.in}, type, 2)),
        bias(uniform_tensor({l.out}, DType::f32, 3)),
        residual(uniform_tensor({l.pictures, l.rows, l.out}, type, 4)),
        down(uniform_tensor({l.rank, l.in}, type, 5)),
        up(uniform_tensor({l.out, l.rank}, type, 6)),
        scales(uniform_tensor({l.rank}, DType::f32, 7)) {}

  Tensor on(ops::Context& context, Activation activation) const {
    const Weight w(weight), d(down), u(up);
    const auto as_computed = [&](const Tensor& t) {
      return from_f32(to_f32(t), context.compute());
    };
    const Tensor added = as_computed(residual);
    return ops::linear_low_rank(context, as_computed(x), w, bias, {d, scales, u},
                                {.activation = activation, .residual = &added});
  }

  Tensor x, weight, bias, residual, down, up, scales;
};

double deviation_of_sum(std::int64_t terms, double factors) {
  return std::sqrt(static_cast<double>(terms)) * factors;
}

Tolerance tolerance_of(const Layer& l, DType type) {
  const double base = deviation_of_sum(l.in, kInputDeviation * kInputDeviation);
  const double inner = deviation_of_sum(l.in, std::pow(kInputDeviation, 3));
  const double added = deviation_of_sum(l.rank, inner * kInputDeviation);
  const double terms = std::sqrt(static_cast<double>(l.in + l.rank));
  Tolerance tolerance{kWorst * epsilon_of(DType::f32) * (terms * (base + added) + 2),
                      testing::result_rounding(type)};
  if (type == DType::bf16) {
    // A merged weight is one of its two neighbours, at most ε away, uniform for all we know. The
    // inner vector, up · scales and down · up are each rounded once, to nearest.
    const double merged = epsilon_of(type) * kInputDeviation * (base + added);
    const double thin = 3 * epsilon_of(type) / 2 * kInputDeviation * added;
    tolerance.absolute += kWorst * (merged + thin);
  }
  return tolerance;
}

void compare(const Layer& layer, DType type) {
  const Inputs inputs(layer, type);
  Side cpu(make_cpu_backend(), type);
  Side reference(reference::make_reference_backend(), DType::f32);
  const Tensor y = inputs.on(cpu.context(), layer.activation);
  const Tensor expected = inputs.on(reference.context(), layer.activation);
  EXPECT_TRUE(testing::within(to_f32(y), expected, tolerance_of(layer, type)));
}

TEST(LiveAdapters, AgreeWithTheReference) {
  for (const DType type : compute_types()) {
    SCOPED_TRACE(to_string(type));
    compare({2, 30, 40, 70, 6}, type);                      // beside the weight
    compare({2, 200, 34, 65, 8}, type);                     // merged
    compare({1, 300, 64, 128, 130}, type);                  // merged, more ranks than inputs
    compare({1, 300, 38, 48, 16, Activation::gelu}, type);  // merged, 38 = 6 · 6 + 2 inputs
    compare({3, 7, 32, 16, 4, Activation::silu}, type);     // beside
    compare({1, 20, 24, 33, 5}, type);                      // an odd rank
  }
}

TEST(LiveAdapters, BothWaysAreTaken) {
  const ProductSpec spec{.type = DType::bf16, .rows = 0, .in = 320, .out = 320};
  EXPECT_TRUE(merges_low_rank(spec, 128, 4096));
  EXPECT_FALSE(merges_low_rank(spec, 128, 77));
}

/// Three pictures with ranks of their own, one without, one with another weight: what each is
/// alone.
TEST(LiveAdapters, RowsWithRanksOfTheirOwnAreAsAlone) {
  for (const DType type : compute_types()) {
    for (const Layer& l : {Layer{5, 96, 64, 80, 4}, Layer{5, 1024, 64, 96, 4}}) {
      const Inputs in(l, type);
      Side side(make_cpu_backend(), type);
      const Weight weight(in.weight), other(uniform_tensor({l.out, l.in}, type, 8));
      const Weight down(in.down), up(in.up), second(uniform_tensor({6, l.in}, type, 9)),
          second_up(uniform_tensor({l.out, 6}, type, 10));
      const Tensor second_scales = uniform_tensor({6}, DType::f32, 11), no_bias;
      const std::vector<ops::LowRankRows> parts = {
          {0, 1, &weight, &in.bias, ops::LowRank{down, in.scales, up}},
          {1, 2, &weight, &in.bias, {}},
          {2, 4, &weight, &in.bias, ops::LowRank{second, second_scales, second_up}},
          {4, 5, &other, &no_bias, ops::LowRank{down, in.scales, up}}};
      const auto y = ops::linear_low_rank(side.context(), in.x, parts, {.residual = &in.residual});
      ASSERT_EQ(y.has_value(), type == DType::bf16 && cpu_features().avx512_bf16);
      EXPECT_FALSE(
          ops::linear_low_rank(side.context(), in.x, parts, {.activation = Activation::silu}));
      if (!y) continue;
      for (const ops::LowRankRows& part : parts) {
        const Tensor x = in.x.slice(part.begin, part.end),
                     residual = in.residual.slice(part.begin, part.end);
        const ops::Epilogue end{.residual = &residual};
        const Tensor alone = part.low_rank
                                 ? ops::linear_low_rank(side.context(), x, *part.weight, *part.bias,
                                                        *part.low_rank, end)
                                 : ops::linear(side.context(), x, *part.weight, *part.bias, end);
        EXPECT_TRUE(testing::bit_identical(y->slice(part.begin, part.end), alone)) << part.begin;
      }
    }
  }
}

TEST(LiveAdapters, ScalesOfZeroLeaveEveryBit) {
  for (const DType type : compute_types()) {
    Inputs inputs({1, 300, 48, 80, 8}, type);
    inputs.scales = Tensor::zeros({8}, DType::f32);
    Side side(make_cpu_backend(), type);
    const Weight weight(inputs.weight);
    const Tensor plain =
        ops::linear(side.context(), inputs.x, weight, inputs.bias, {.residual = &inputs.residual});
    EXPECT_TRUE(testing::bit_identical(inputs.on(side.context(), Activation::none), plain));
  }
}

/// A bf16 value's two neighbours around `exact`, and how far between them it lies.
struct Between {
  explicit Between(double exact)
      : below(towards_zero(exact)),
        step(std::abs(double{std::bit_cast<float>(std::bit_cast<std::uint32_t>(below) + 0x10000u)} -
                      below)) {
    share = std::abs(exact - below) / step;
  }
  static float towards_zero(double exact) {
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(static_cast<float>(exact)) &
                                0xffff0000u);
  }
  float below;
  double step, share;
};

/// Errors of rounding in steps of bf16: their sum, and the variance that it has when each is
/// rounded up with the probability of its distance, `share` · (1 − share).
struct Errors {
  void add(const Between& exact, double value) {
    const double wanted = exact.below + std::copysign(exact.step * exact.share, exact.below);
    sum += (value - wanted) / exact.step;
    variance += exact.share * (1 - exact.share);
    ++count;
  }
  /// In standard deviations.
  double off() const { return sum / std::sqrt(variance); }
  double sum = 0, variance = 0;
  std::int64_t count = 0;
};

/// The merged weight of n inputs and outputs, read out with rows of the identity: each product with
/// 1 is exact.
Tensor merged_weight(const Inputs& inputs, std::int64_t n) {
  Side side(make_cpu_backend(), DType::bf16);
  Tensor rows = Tensor::zeros({1, 2 * n, n}, DType::f32);
  for (std::int64_t i = 0; i < 2 * n; ++i) rows.mutable_data<float>()[i * n + i % n] = 1;
  const Weight weight(inputs.weight), down(inputs.down), up(inputs.up);
  const Tensor y = ops::linear_low_rank(side.context(), from_f32(rows, DType::bf16), weight, {},
                                        {down, inputs.scales, up});
  return to_f32(y.reshaped({2 * n, n}).slice(0, n));
}

/// Merging rounds changes far below bf16's step of the weight up or down; all of one sign, rounding
/// to nearest would drop them. Over the whole weight, every input and every output the mean error
/// is no more than chance leaves (kWorst deviations of a sum of independent roundings), so the
/// fixed pattern has neither a bias nor a direction.
TEST(LiveAdapters, MergingIsUnbiased) {
  if (!cpu_features().avx512_bf16) GTEST_SKIP() << "only bf16 merges";
  const std::int64_t n = 320, rank = 16;
  ASSERT_TRUE(
      merges_low_rank({.type = DType::bf16, .rows = 2 * n, .in = n, .out = n}, rank, 2 * n));
  Inputs inputs({1, 2, n, n, rank}, DType::bf16);
  const auto positive = [](const Tensor& tensor) {
    Tensor values = to_f32(tensor).clone();
    for (float& value : values.mutable_floats()) value = std::abs(value);
    return from_f32(values, DType::bf16);
  };
  inputs.down = positive(inputs.down);
  inputs.up = positive(inputs.up);
  // A power of two, so that up · scale is exact in bf16: Δ is some 2⁻¹² beside weights of some ½
  // whose step is 2⁻⁹.
  inputs.scales =
      Tensor::from(std::vector<float>(static_cast<std::size_t>(rank), 0x1p-14f), {rank});
  const Tensor merged = merged_weight(inputs, n);
  const Tensor down = to_f32(inputs.down), up = to_f32(inputs.up), weight = to_f32(inputs.weight);

  Errors all;
  std::vector<Errors> of_input(static_cast<std::size_t>(n)), of_output(static_cast<std::size_t>(n));
  double change = 0;  // in steps: what rounding to nearest would lose
  for (std::int64_t o = 0; o < n; ++o) {
    for (std::int64_t i = 0; i < n; ++i) {
      double delta = 0;
      for (std::int64_t r = 0; r < rank; ++r) {
        delta += 0x1p-14 * double{up.data<float>()[o * rank + r]} * down.data<float>()[r * n + i];
      }
      const Between exact(weight.data<float>()[o * n + i] + delta);
      const double value = merged.data<float>()[i * n + o];
      all.add(exact, value);
      of_input[static_cast<std::size_t>(i)].add(exact, value);
      of_output[static_cast<std::size_t>(o)].add(exact, value);
      if (delta < exact.step / 2) change += delta / exact.step;
    }
  }
  EXPECT_LT(std::abs(all.off()), kWorst);
  for (const std::vector<Errors>& lines : {of_input, of_output}) {
    for (const Errors& line : lines) EXPECT_LT(std::abs(line.off()), kWorst);
  }
  // The bound on the mean error is some hundredths of what nearest would lose: the test can tell.
  EXPECT_LT(kWorst * std::sqrt(all.variance), change / 10);
}

}  // namespace
}  // namespace velatura::backend::cpu
