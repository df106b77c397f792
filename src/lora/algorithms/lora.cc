// LoRA (Hu et al. 2021) and LoCon: ΔW = (α/r) · B·A for linear layers and convolutions
// (lora-formats §1.1, §1.2, §1.7).
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "lora/algorithms/algorithm.h"

namespace velatura::lora {

namespace {

class LoraDelta : public ModuleDelta {
 public:
  LoraDelta(ThinFactors factors, bool is_zero) : factors_(std::move(factors)), is_zero_(is_zero) {}
  std::int64_t rank() const override { return factors_.up->shape()[1]; }
  bool is_zero() const override { return is_zero_; }
  const ThinFactors* thin() const override { return &factors_; }
  Tensor dense(std::int64_t ranks) const override;

 private:
  ThinFactors factors_;
  bool is_zero_;
};

Tensor LoraDelta::dense(std::int64_t ranks) const {
  const Shape& down_shape = factors_.down->shape();
  const std::int64_t stored = rank(), used = ranks > 0 ? std::min(ranks, stored) : stored;
  const std::int64_t out = factors_.up->shape()[0], columns = down_shape.count() / stored;
  Tensor delta =
      Tensor::zeros(down_shape.rank() == 4 ? Shape{out, down_shape[1], down_shape[2], down_shape[3]}
                                           : Shape{out, columns},
                    DType::f32);
  const Tensor up_values = to_f32(factors_.up->original()),
               down_values = to_f32(factors_.down->original());
  const float* up = up_values.data<float>();
  const float* down = down_values.data<float>();
  float* values = delta.mutable_data<float>();
#pragma omp parallel for
  for (std::int64_t o = 0; o < out; ++o) {
    float* row = values + o * columns;
    for (std::int64_t r = 0; r < used; ++r) {
      const float factor = factors_.scale * up[o * stored + r];
      const float* source = down + r * columns;
      for (std::int64_t i = 0; i < columns; ++i) row[i] += factor * source[i];
    }
  }
  return delta;
}

/// The factor before B·A: a stored `scale` wins, then α/r, then what stands outside the tensors,
/// else 1.
float scale_of(const ModuleInput& input, std::int64_t rank) {
  const auto& tensors = input.module.tensors;
  double scale = 1;
  if (tensors.contains(Role::scale)) {
    scale = read_number(input, Role::scale);
  } else if (tensors.contains(Role::alpha)) {
    scale = read_number(input, Role::alpha) / static_cast<double>(rank);
  } else if (const PeftScaling* outside = input.file.peft_scaling(input.component)) {
    scale = outside->factor(input.layer.path, rank);
  }
  if (tensors.contains(Role::scalar)) scale *= read_number(input, Role::scalar);
  const auto factor = static_cast<float>(scale);
  if (!std::isfinite(factor)) {
    fail(ErrorKind::bad_file, "the scale of \"{}\", {}, is beyond float32", input.module.name,
         scale);
  }
  return factor;
}

/// The outermost extent of a matrix that has `columns` elements a row, nullopt for another shape.
/// Axes behind the first may be folded in any way: converters drop or add a kernel's.
std::optional<std::int64_t> rows_of(const Tensor& matrix, std::int64_t columns) {
  if (matrix.rank() < 2 || matrix.size(0) < 1 || matrix.count() != matrix.size(0) * columns)
    return std::nullopt;
  return matrix.size(0);
}

Tensor transposed(const Tensor& matrix) {
  const std::int64_t rows = matrix.size(0), columns = matrix.size(1);
  Tensor result = Tensor::allocate({columns, rows}, matrix.dtype());
  const std::size_t width = size_of(matrix.dtype());
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      std::memcpy(result.mutable_bytes() + static_cast<std::size_t>(c * rows + r) * width,
                  matrix.bytes() + static_cast<std::size_t>(r * columns + c) * width, width);
    }
  }
  return result;
}

struct Pair {
  Tensor down;  ///< r rows of `columns` elements
  Tensor up;    ///< out rows of r elements
};

/// The pair as it stands, else with one or both factors transposed (behaviour.md §1); nullopt where
/// no reading fits.
std::optional<Pair> read_pair(const Tensor& down, const Tensor& up, std::int64_t out,
                              std::int64_t columns) {
  struct Reading {
    bool down, up;  ///< transposed
  };
  constexpr auto kReadings =
      std::to_array<Reading>({{false, false}, {true, false}, {false, true}, {true, true}});
  for (const Reading& reading : kReadings) {
    if ((reading.down && down.rank() != 2) || (reading.up && up.rank() != 2)) continue;
    const auto rank = reading.down
                          ? (down.size(0) == columns ? std::optional(down.size(1)) : std::nullopt)
                          : rows_of(down, columns);
    if (!rank || *rank < 1) continue;
    const bool up_fits =
        reading.up ? up.size(0) == *rank && up.size(1) == out : rows_of(up, *rank) == out;
    if (up_fits)
      return Pair{reading.down ? transposed(down) : down, reading.up ? transposed(up) : up};
  }
  return std::nullopt;
}

}  // namespace

std::unique_ptr<ModuleDelta> make_lora(const ModuleInput& input) {
  const Shape& weight = input.layer.weight->shape();
  const nn::LayerKind kind = input.layer.kind;
  if (kind != nn::LayerKind::linear && kind != nn::LayerKind::conv2d) {
    fail(ErrorKind::mismatch, "a LoRA pair on \"{}\", which is neither linear nor a convolution",
         input.layer.path);
  }
  const Tensor down = read_finite(input, Role::down), up = read_finite(input, Role::up);
  const std::int64_t out = weight[0], columns = weight.count() / std::max<std::int64_t>(out, 1);
  const std::optional<Pair> pair = read_pair(down, up, out, columns);
  if (!pair) {
    fail(ErrorKind::mismatch,
         "down {} and up {} of \"{}\" do not fit the weight {} of \"{}\": [r, {}] and [{}, r] with "
         "r of 1 or more are expected",
         down.shape().to_string(), up.shape().to_string(), input.module.name, weight.to_string(),
         input.layer.path, columns, out);
  }
  const std::int64_t rank = pair->down.size(0);
  const Shape down_shape =
      weight.rank() == 4 ? Shape{rank, weight[1], weight[2], weight[3]} : Shape{rank, columns};
  const float scale = scale_of(input, rank);
  return std::make_unique<LoraDelta>(
      ThinFactors{.down = std::make_shared<const ops::Weight>(pair->down.reshaped(down_shape)),
                  .up = std::make_shared<const ops::Weight>(pair->up.reshaped({out, rank})),
                  .scale = scale},
      scale == 0 || is_all_zero(up));
}

}  // namespace velatura::lora
