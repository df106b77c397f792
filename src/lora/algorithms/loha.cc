// LoHa (Hyeon-Woo et al. 2022): ΔW = (α/r) · (w1_a · w1_b) ∘ (w2_a · w2_b), and its Tucker form on
// convolutions, where every factor is a contraction with a core (lora-formats §1.4).
#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.h"
#include "lora/algorithms/matrix.h"

namespace velatura::lora {

namespace {

/// One of the two matrices that are multiplied element by element, as a product.
struct HadamardFactor {
  Tensor up;              ///< [out, r], any floating type
  Tensor down;            ///< [r, columns], any floating type
  std::int64_t rank = 0;  ///< rows of the stored w_b
};

class LohaDelta : public ModuleDelta {
 public:
  LohaDelta(std::array<HadamardFactor, 2> factors, float scale, const Shape& weight)
      : factors_(std::move(factors)), scale_(scale), weight_(weight) {
    is_zero_ = scale == 0 || std::ranges::any_of(factors_, [](const HadamardFactor& factor) {
                 return is_all_zero(factor.up) || is_all_zero(factor.down);
               });
  }

  std::int64_t rank() const override { return factors_[0].rank; }
  bool is_zero() const override { return is_zero_; }
  Tensor weight_change(const Pristine& base, float strength, std::int64_t ranks) const override;
  std::unique_ptr<ModuleDelta> rows(std::span<const RowRange> rows) const override {
    std::array<HadamardFactor, 2> pieces = factors_;
    for (HadamardFactor& piece : pieces) piece.up = take_rows(piece.up, rows);
    const Shape weight = with_rows(weight_, pieces[0].up.size(0));
    return std::make_unique<LohaDelta>(std::move(pieces), scale_, weight);
  }

 private:
  std::array<HadamardFactor, 2> factors_;
  float scale_;
  Shape weight_;
  bool is_zero_ = false;
};

Tensor LohaDelta::weight_change(const Pristine&, float strength, std::int64_t) const {
  const std::int64_t out = factors_[0].up.size(0), columns = factors_[0].down.size(1);
  const Tensor up1 = scaled(factors_[0].up, strength * scale_), down1 = to_f32(factors_[0].down);
  const Tensor up2 = to_f32(factors_[1].up), down2 = to_f32(factors_[1].down);
  Tensor change = Tensor::allocate({out, columns}, DType::f32);
  // The second matrix exists some rows at a time only.
  constexpr std::int64_t kRows = 256;
  for (std::int64_t row = 0; row < out; row += kRows) {
    const std::int64_t end = std::min(row + kRows, out), count = (end - row) * columns;
    const Tensor first = product(up1.slice(row, end), down1);
    const Tensor second = product(up2.slice(row, end), down2);
    const float* a = first.data<float>();
    const float* b = second.data<float>();
    float* to = change.mutable_data<float>() + row * columns;
#pragma omp parallel for simd
    for (std::int64_t i = 0; i < count; ++i) to[i] = a[i] * b[i];
  }
  return change.reshaped(weight_);
}

struct FactorRoles {
  Role up, down, core;
};

HadamardFactor read_plain(const ModuleInput& input, const FactorRoles& roles) {
  const Tensor up = read_finite(input, roles.up), down = read_finite(input, roles.down);
  const auto rank = rows_of(down, input.columns());
  if (!rank || rows_of(up, *rank) != input.out()) {
    fail(ErrorKind::mismatch,
         "{} {} and {} {} of \"{}\" do not fit the weight {} of \"{}\": [{}, r] and [r, {}] with r "
         "of 1 or more are expected",
         to_string(roles.up), up.shape().to_string(), to_string(roles.down),
         down.shape().to_string(), input.module.name, input.weight.to_string(), input.path,
         input.out(), input.columns());
  }
  return {up.reshaped({input.out(), *rank}), flattened(down), *rank};
}

/// In this form both factors have their rank first.
HadamardFactor read_tucker(const ModuleInput& input, const FactorRoles& roles) {
  const Tensor up = read_finite(input, roles.up), down = read_finite(input, roles.down),
               core = read_f32(input, roles.core);
  const Kernel kernel = kernel_of(input.weight);
  const auto p = rows_of(up, input.out()), q = rows_of(down, input.weight[1]);
  const bool fits = p && q && core.rank() == 4 && core.size(0) == *p && core.size(1) == *q &&
                    core.size(2) == kernel.height && core.size(3) == kernel.width &&
                    *p <= most_core_ranks(input);
  if (!fits) {
    fail(
        ErrorKind::mismatch,
        "{} {}, {} {} and {} {} of \"{}\" do not fit the weight {} of \"{}\": [r, {}], [r, {}] and "
        "[r, r, {}, {}] with r from 1 to {} are expected",
        to_string(roles.up), up.shape().to_string(), to_string(roles.down),
        down.shape().to_string(), to_string(roles.core), core.shape().to_string(),
        input.module.name, input.weight.to_string(), input.path, input.out(), input.weight[1],
        kernel.height, kernel.width, most_core_ranks(input));
  }
  return {transposed(flattened(up)), through_core(core, to_f32(down)), *q};
}

}  // namespace

std::unique_ptr<ModuleDelta> make_loha(const ModuleInput& input) {
  require_product_layer(input, "LoHa");
  constexpr FactorRoles kFirst{Role::hada_w1_a, Role::hada_w1_b, Role::hada_t1};
  constexpr FactorRoles kSecond{Role::hada_w2_a, Role::hada_w2_b, Role::hada_t2};
  if (has(input, Role::hada_t1) != has(input, Role::hada_t2)) {
    fail(ErrorKind::mismatch, "\"{}\" has one of hada_t1 and hada_t2, both or none are expected",
         input.module.name);
  }
  const auto read = has(input, Role::hada_t1) ? read_tucker : read_plain;
  std::array<HadamardFactor, 2> factors{read(input, kFirst), read(input, kSecond)};
  const float scale = scale_of(input, factors[0].rank);
  return std::make_unique<LohaDelta>(std::move(factors), scale, input.weight);
}

}  // namespace velatura::lora
