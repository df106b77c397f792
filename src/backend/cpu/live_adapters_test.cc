// linear_low_rank against the same formula in f32 on the reference, both ways it is computed in.
#include <cmath>

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

}  // namespace
}  // namespace velatura::backend::cpu
