// LoKr (Yeh et al. 2023): ΔW = s · w1 ⊗ w2, in every generation of the format: each factor whole,
// as a product, or through a Tucker core (lora-formats §1.5).
#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "lora/algorithms/matrix.h"
#include "lora/header_numbers.h"

namespace velatura::lora {

namespace {

class LokrDelta : public ModuleDelta {
 public:
  /// Of `weight`, whose rows are those of w1 times those of w2.
  LokrDelta(KroneckerFactors factors, std::int64_t rank, const Shape& weight, std::string remark)
      : factors_(std::move(factors)), rank_(rank), weight_(weight), remark_(std::move(remark)) {
    is_zero_ = factors_.scale == 0 || is_all_zero(factors_.w1->original()) ||
               is_all_zero(factors_.w2->original());
  }

  std::int64_t rank() const override { return rank_; }
  bool is_zero() const override { return is_zero_; }
  std::string remark() const override { return remark_; }
  const KroneckerFactors* kronecker() const override {
    return factors_.w2->shape().rank() == weight_.rank() ? &factors_ : nullptr;
  }
  Tensor weight_change(const Pristine& base, float strength, std::int64_t ranks) const override;
  std::unique_ptr<ModuleDelta> rows(std::span<const RowRange> rows) const override;

 private:
  KroneckerFactors factors_;
  std::int64_t rank_;
  Shape weight_;
  std::string remark_;
  bool is_zero_ = false;
};

Tensor LokrDelta::weight_change(const Pristine&, float strength, std::int64_t) const {
  const Tensor w1 = scaled(factors_.w1->original(), strength * factors_.scale);
  const Tensor w2 = flattened(to_f32(factors_.w2->original()));
  const std::int64_t in_m = w1.size(1), out_k = w2.size(0), in_n = w2.size(1);
  Tensor change = Tensor::allocate(weight_, DType::f32);
  const float* outer = w1.data<float>();
  const float* inner = w2.data<float>();
  float* values = change.mutable_data<float>();
#pragma omp parallel for
  for (std::int64_t row = 0; row < w1.size(0) * out_k; ++row) {
    const float* factors = outer + row / out_k * in_m;
    const float* source = inner + row % out_k * in_n;
    float* to = values + row * in_m * in_n;
    for (std::int64_t i = 0; i < in_m; ++i, to += in_n) {
      const float factor = factors[i];
      for (std::int64_t j = 0; j < in_n; ++j) to[j] = factor * source[j];
    }
  }
  return change;
}

/// Block rows of K are rows of w1 (lora-formats §2.8), so that ranges of whole block rows cut w1,
/// and one range inside a single block row cuts both.
std::unique_ptr<ModuleDelta> LokrDelta::rows(std::span<const RowRange> rows) const {
  const std::int64_t out_k = factors_.w2->shape()[0];
  std::vector<RowRange> blocks;
  std::int64_t count = 0;
  for (const RowRange& range : rows) {
    if (range.begin % out_k == 0 && range.end % out_k == 0)
      blocks.push_back({range.begin / out_k, range.end / out_k});
    count += range.count();
  }
  KroneckerFactors pieces = factors_;
  if (blocks.size() < rows.size()) {
    const RowRange& range = rows.front();
    const std::int64_t block = range.begin / out_k;
    if (rows.size() > 1 || range.count() < 1 || (range.end - 1) / out_k != block) return nullptr;
    blocks = {{block, block + 1}};
    const std::array within = {RowRange{range.begin % out_k, range.begin % out_k + count}};
    pieces.w2 = std::make_shared<const ops::Weight>(take_rows(pieces.w2->original(), within));
  }
  pieces.w1 = std::make_shared<const ops::Weight>(take_rows(pieces.w1->original(), blocks));
  return std::make_unique<LokrDelta>(std::move(pieces), rank_, with_rows(weight_, count), remark_);
}

struct FactorRoles {
  Role whole, up, down, core;
};
constexpr FactorRoles kW1{Role::lokr_w1, Role::lokr_w1_a, Role::lokr_w1_b, Role::lokr_t1};
constexpr FactorRoles kW2{Role::lokr_w2, Role::lokr_w2_a, Role::lokr_w2_b, Role::lokr_t2};

/// w1 or w2 as stored, and the matrix that it stands for.
struct StoredFactor {
  Tensor whole, up, down, core;  ///< whole, or up and down, with or without core
  std::int64_t rows = 0, columns = 0;
  bool is_whole() const { return whole.defined(); }
};

/// Shapes only, no value computed: what is claimed is compared with the layer first.
StoredFactor read_factor(const ModuleInput& input, const FactorRoles& roles) {
  StoredFactor factor;
  const auto refuse = [&](const Tensor& tensor, Role role, std::string_view expected) {
    fail(ErrorKind::mismatch, "{} {} of \"{}\": {} is expected", to_string(role),
         tensor.shape().to_string(), input.module.name, expected);
  };
  if (has(input, roles.whole)) {
    factor.whole = read_finite(input, roles.whole);
    factor.rows = factor.whole.rank() == 0 ? 0 : factor.whole.size(0);
    factor.columns = columns_of(factor.whole);
    if (factor.columns < 1) refuse(factor.whole, roles.whole, "a matrix");
    return factor;
  }
  if (!has(input, roles.up) || !has(input, roles.down)) {
    fail(ErrorKind::mismatch, "\"{}\" lacks {}: neither it nor both {} and {} are there",
         input.module.name, to_string(roles.whole), to_string(roles.up), to_string(roles.down));
  }
  factor.up = read_finite(input, roles.up), factor.down = read_finite(input, roles.down);
  const Tensor &up = factor.up, &down = factor.down;
  if (columns_of(down) < 1) refuse(down, roles.down, "a matrix");
  factor.columns = columns_of(down);
  if (!has(input, roles.core)) {
    factor.rows = rows_of(up, down.size(0)).value_or(0);
    if (factor.rows < 1)
      refuse(up, roles.up,
             fmt::format("[rows, {}], the rank of {},", down.size(0), to_string(roles.down)));
    return factor;
  }
  factor.core = read_f32(input, roles.core);
  const Tensor& core = factor.core;
  factor.rows = columns_of(up);
  const bool fits = core.rank() == 4 && core.count() > 0 && factor.rows > 0 &&
                    core.size(0) == up.size(0) && core.size(1) == down.size(0) &&
                    core.size(0) <= most_core_ranks(input);
  if (!fits) {
    refuse(core, roles.core,
           fmt::format("[{}, {}, kh, kw] with at most {} ranks", up.rank() == 0 ? 0 : up.size(0),
                       down.size(0), most_core_ranks(input)));
  }
  factor.columns *= core.size(2) * core.size(3);
  return factor;
}

/// The matrix [rows, columns]; a product is f32.
std::shared_ptr<const ops::Weight> build(const StoredFactor& factor) {
  const auto as_weight = [](Tensor tensor) {
    return std::make_shared<const ops::Weight>(std::move(tensor));
  };
  if (factor.is_whole()) return as_weight(flattened(factor.whole));
  const Tensor down = to_f32(flattened(factor.down)), up = to_f32(flattened(factor.up));
  if (!factor.core.defined()) return as_weight(product(up, down));
  return as_weight(product(transposed(up), through_core(factor.core, down)));
}

/// `w2` with the layer's kernel as axes of its own, where the columns of w1 are channels alone: a
/// convolution by factors. The first generation put the kernel's height into w1; what a product has
/// to be is decided by the columns, not by who wrote the file.
std::shared_ptr<const ops::Weight> with_kernel(std::shared_ptr<const ops::Weight> w2,
                                               std::int64_t w1_columns, const Shape& weight) {
  if (weight.rank() != 4 || weight[1] % w1_columns != 0) return w2;
  return std::make_shared<const ops::Weight>(
      w2->original().reshaped({w2->shape()[0], weight[1] / w1_columns, weight[2], weight[3]}));
}

/// Of two whole factors: α, whatever it says, is ignored, but for PEFT, which always divides its
/// own by the rank that was asked for (tuners/lokr/layer.py).
float scale_of_whole(const ModuleInput& input) {
  double scale = 1;
  if (has(input, Role::scale)) {
    scale = read_number(input, Role::scale);
  } else if (const PeftScaling* outside = input.file.peft_scaling(input.component);
             outside != nullptr && !has(input, Role::alpha)) {
    scale = outside->factor_without_rank({.name = input.module.name, .path = input.path});
  }
  if (has(input, Role::scalar)) scale *= read_number(input, Role::scalar);
  return finite_scale(input, scale);
}

std::string remark_on_alpha(const ModuleInput& input) {
  if (!has(input, Role::alpha)) return {};
  const auto stated = stated_scale(input.file, read_number(input, Role::alpha));
  if (!stated) return {};
  return fmt::format(
      "both factors are whole, so that α is ignored; the header's network dim {} and alpha {} may "
      "mean a strength of {:.4g}",
      stated->dim, stated->alpha, stated->strength());
}

}  // namespace

std::unique_ptr<ModuleDelta> make_lokr(const ModuleInput& input) {
  require_product_layer(input, "LoKr");
  const StoredFactor w1 = read_factor(input, kW1), w2 = read_factor(input, kW2);
  const std::int64_t out = input.out(), columns = input.columns();
  // Divided, not multiplied: a product of what a file claims may overflow.
  const bool fits = out % w1.rows == 0 && out / w1.rows == w2.rows && columns % w1.columns == 0 &&
                    columns / w1.columns == w2.columns;
  if (!fits) {
    fail(
        ErrorKind::mismatch,
        "w1 [{}, {}] and w2 [{}, {}] of \"{}\" do not fit the weight {} of \"{}\": their rows must "
        "give {}, their columns {}",
        w1.rows, w1.columns, w2.rows, w2.columns, input.module.name, input.weight.to_string(),
        input.path, out, columns);
  }
  const std::int64_t rank = !w2.is_whole() ? w2.down.size(0) : !w1.is_whole() ? w1.down.size(0) : 0;
  const float scale = rank > 0 ? scale_of(input, rank) : scale_of_whole(input);
  return std::make_unique<LokrDelta>(
      KroneckerFactors{
          .w1 = build(w1), .w2 = with_kernel(build(w2), w1.columns, input.weight), .scale = scale},
      rank, input.weight, rank > 0 ? std::string() : remark_on_alpha(input));
}

}  // namespace velatura::lora
