// GLoRA (Chavan et al. 2023) in LyCORIS' two generations: ΔW = (α/r) · (W·a·a' + b·b')
// (lora-formats §1.8).
#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "base/error.h"
#include "lora/algorithms/algorithm.h"
#include "lora/algorithms/matrix.h"

namespace velatura::lora {

namespace {

/// Both generations, brought to one form: they differ in which of a1, a2 and b1, b2 comes first.
struct Factors {
  Tensor to_rank;    ///< [in, r]: W's input channels to the rank
  Tensor from_rank;  ///< [r, in]
  Tensor up;         ///< [out, r]
  Tensor down;       ///< [r, columns]: a Tucker core is multiplied in
};

/// Sums of a row, [r, kernel].
struct Scratch {
  std::vector<float> partial;
  std::vector<double> inner;
};

/// inner [r, kernel] = a'ᵀ · W of one row: sums over thousands of channels, a few at a time in f32
/// and those in double.
void pull_row(const Tensor& to_rank, const float* weight, std::int64_t kernel, Scratch& scratch) {
  constexpr std::int64_t kChannels = 64;
  const std::int64_t inputs = to_rank.size(0), rank = to_rank.size(1);
  float* partial = scratch.partial.data();
  std::ranges::fill(scratch.inner, 0.0);
  for (std::int64_t first = 0; first < inputs; first += kChannels) {
    std::ranges::fill(scratch.partial, 0.0F);
    for (std::int64_t i = first; i < std::min(inputs, first + kChannels); ++i) {
      const float* factor = to_rank.data<float>() + i * rank;
      for (std::int64_t k = 0; k < kernel; ++k) {
        const float value = weight[i * kernel + k];
        float* sum = partial + k * rank;
#pragma omp simd
        for (std::int64_t p = 0; p < rank; ++p) sum[p] += factor[p] * value;
      }
    }
    for (std::int64_t k = 0; k < kernel; ++k) {
      for (std::int64_t p = 0; p < rank; ++p)
        scratch.inner[static_cast<std::size_t>(p * kernel + k)] += partial[k * rank + p];
    }
  }
}

/// ΔW of one output row. `weight`, `change`: [in, kernel].
void add_row(const Factors& factors, const float* weight, const float* up, float scale,
             std::int64_t kernel, Scratch& scratch, float* change) {
  const std::int64_t inputs = factors.to_rank.size(0), rank = factors.to_rank.size(1);
  const float* from_rank = factors.from_rank.data<float>();
  const float* down = factors.down.data<float>();
  pull_row(factors.to_rank, weight, kernel, scratch);
  for (std::int64_t p = 0; p < rank; ++p) {
    const double* through = scratch.inner.data() + p * kernel;
    const float* source = down + p * inputs * kernel;
    const float* spread = from_rank + p * inputs;
    for (std::int64_t k = 0; k < kernel; ++k) {
      const auto factor = static_cast<float>(through[k]);
      for (std::int64_t i = 0; i < inputs; ++i)
        change[i * kernel + k] += spread[i] * factor + up[p] * source[i * kernel + k];
    }
  }
  for (std::int64_t i = 0; i < inputs * kernel; ++i) change[i] *= scale;
}

class GloraDelta : public ModuleDelta {
 public:
  GloraDelta(Factors factors, float scale) : factors_(std::move(factors)), scale_(scale) {}
  std::int64_t rank() const override { return factors_.up.size(1); }
  bool is_zero() const override {
    return scale_ == 0 || ((is_all_zero(factors_.to_rank) || is_all_zero(factors_.from_rank)) &&
                           (is_all_zero(factors_.up) || is_all_zero(factors_.down)));
  }
  bool needs_base() const override { return true; }
  Tensor weight_change(const Pristine& base, float strength, std::int64_t) const override {
    const Tensor weight = base();
    Tensor change = Tensor::zeros(weight.shape(), DType::f32);
    const std::int64_t rows = weight.size(0), columns = weight.count() / rows;
    const std::int64_t kernel = columns / weight.size(1), inner = rank() * kernel;
    const float* source = weight.data<float>();
    const float* up = factors_.up.data<float>();
    float* target = change.mutable_data<float>();
#pragma omp parallel
    {
      Scratch scratch{std::vector<float>(static_cast<std::size_t>(inner)),
                      std::vector<double>(static_cast<std::size_t>(inner))};
#pragma omp for
      for (std::int64_t o = 0; o < rows; ++o) {
        add_row(factors_, source + o * columns, up + o * rank(), strength * scale_, kernel, scratch,
                target + o * columns);
      }
    }
    return change;
  }

 private:
  Factors factors_;
  float scale_;
};

/// The tensor as [rows, columns], axes behind the first folded; absent where it is not that.
std::optional<Tensor> as_matrix(const Tensor& tensor, std::int64_t rows, std::int64_t columns) {
  if (tensor.rank() < 2 || tensor.size(0) != rows || tensor.count() != rows * columns)
    return std::nullopt;
  return tensor.reshaped({rows, columns});
}

struct Stored {
  Tensor a1, a2, b1, b2;
};

/// The four under the names of one generation.
struct Named {
  const Tensor &to_rank, &from_rank, &up, &down;
};

/// nullopt where the shapes are another generation's. `width`: columns of down, fewer than the
/// layer's where a Tucker core brings the kernel.
std::optional<Factors> read_generation(const ModuleInput& input, const Named& named,
                                       std::int64_t width) {
  const std::int64_t inputs = input.weight[1];
  const std::int64_t rank = named.down.rank() < 2 ? 0 : named.down.size(0);
  if (rank < 1) return std::nullopt;
  const auto to_rank = as_matrix(named.to_rank, inputs, rank);
  const auto from_rank = as_matrix(named.from_rank, rank, inputs);
  const auto up = as_matrix(named.up, input.out(), rank);
  const auto down = as_matrix(named.down, rank, width);
  if (!to_rank || !from_rank || !up || !down) return std::nullopt;
  return Factors{*to_rank, *from_rank, *up, *down};
}

/// down [r, in·kernel] of a Tucker pair: mid [r, r, kh, kw], its first axis towards up.
Tensor with_core(const ModuleInput& input, const Tensor& down, const Tensor& mid) {
  const std::int64_t rank = down.size(0);
  const Shape expected{rank, rank, input.weight[2], input.weight[3]};
  if (mid.shape() != expected) {
    fail(ErrorKind::mismatch,
         "the Tucker core {} of \"{}\" should be {}: the weight of \"{}\" is {}",
         mid.shape().to_string(), input.module.name, expected.to_string(), input.path,
         input.weight.to_string());
  }
  return through_core(mid, down);
}

}  // namespace

std::unique_ptr<ModuleDelta> make_glora(const ModuleInput& input) {
  require_product_layer(input, "GLoRA");
  const Stored stored{read_f32(input, Role::glora_a1), read_f32(input, Role::glora_a2),
                      read_f32(input, Role::glora_b1), read_f32(input, Role::glora_b2)};
  const bool has_core = has(input, Role::glora_bm) && input.weight.rank() == 4;
  const std::int64_t width = has_core ? input.weight[1] : input.columns();
  // Where all are square and r = in = out nothing tells them apart: ComfyUI takes the older then.
  std::optional<Factors> factors =
      read_generation(input, {stored.a2, stored.a1, stored.b2, stored.b1}, width);
  if (!factors) {
    factors = read_generation(input, {stored.a1, stored.a2, stored.b1, stored.b2}, width);
  }
  if (!factors) {
    fail(ErrorKind::mismatch,
         "a1 {}, a2 {}, b1 {} and b2 {} of \"{}\" do not fit the weight {} of \"{}\": a1 [in, r], "
         "a2 [r, in], b1 [out, r], b2 [r, {}], or each pair the other way round, are expected",
         stored.a1.shape().to_string(), stored.a2.shape().to_string(),
         stored.b1.shape().to_string(), stored.b2.shape().to_string(), input.module.name,
         input.weight.to_string(), input.path, width);
  }
  if (has_core) factors->down = with_core(input, factors->down, read_f32(input, Role::glora_bm));
  const float scale = scale_of(input, factors->up.size(1));
  return std::make_unique<GloraDelta>(std::move(*factors), scale);
}

}  // namespace velatura::lora
