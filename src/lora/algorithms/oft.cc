// OFT (Qiu et al. 2023) on output rows, as kohya's networks/oft.py and oft_flux.py and LyCORIS'
// diag-oft write it, LyCORIS' early oft_diag, and BOFT (Liu et al. 2024): lora-formats §1.10.
#include <algorithm>
#include <cmath>
#include <mutex>
#include <optional>
#include <vector>

#include "base/error.h"
#include "lora/algorithms/algorithm.h"
#include "lora/algorithms/matrix.h"
#include "lora/algorithms/rotation.h"

namespace velatura::lora {

namespace {

/// Rotations of consecutive rows, all that one tensor holds.
struct Rotations {
  Tensor stored;           ///< [n, b, b], of BOFT [k, n, b, b]; Q is stored minus its transpose
  double scale = 1;        ///< of Q: the constraint
  bool is_direct = false;  ///< R itself is stored (oft_diag)

  std::int64_t block() const { return stored.size(-1); }
  std::int64_t blocks() const { return stored.size(-3); }
  std::int64_t rows() const { return block() * blocks(); }
  std::int64_t factors() const { return stored.rank() == 4 ? stored.size(0) : 1; }
};

/// Calls visit(i, j, stored[i, j] − stored[j, i]) for every element of a block.
template <typename Visit>
void visit_skew(const float* block, std::int64_t b, Visit visit) {
  for (std::int64_t i = 0; i < b; ++i) {
    for (std::int64_t j = 0; j < b; ++j)
      visit(i, j, static_cast<double>(block[i * b + j]) - static_cast<double>(block[j * b + i]));
  }
}

/// ‖Q‖ in the Frobenius norm over all blocks together.
double skew_norm(const Tensor& stored) {
  const Tensor values = to_f32(stored);
  const std::int64_t b = values.size(-1), count = values.count() / (b * b);
  double sum = 0;
  for (std::int64_t d = 0; d < count; ++d) {
    visit_skew(values.data<float>() + d * b * b, b,
               [&](std::int64_t, std::int64_t, double q) { sum += q * q; });
  }
  return std::sqrt(sum);
}

/// D of W' − W = D·W for strength 1, [k, n, b, b] in f32: Rᵀ − I, of BOFT R − I.
Tensor differences(const Rotations& rotations) {
  const Tensor values = to_f32(rotations.stored);
  const std::int64_t b = rotations.block(), factors = rotations.factors();
  const bool is_transposed = rotations.stored.rank() == 3;
  Tensor result = Tensor::allocate({factors, rotations.blocks(), b, b}, DType::f32);
  const float* source = values.data<float>();
  float* target = result.mutable_data<float>();
  const auto make_block = [&](std::int64_t d) {
    const float* from = source + d * b * b;
    float* to = target + d * b * b;
    if (rotations.is_direct) {
      for (std::int64_t i = 0; i < b; ++i) {
        for (std::int64_t j = 0; j < b; ++j)
          to[i * b + j] = static_cast<float>(static_cast<double>(from[j * b + i]) - (i == j));
      }
      return;
    }
    // Rᵀ is the rotation of −Q.
    const double sign = is_transposed ? -rotations.scale : rotations.scale;
    std::vector<double> q(static_cast<std::size_t>(b * b));
    visit_skew(from, b, [&](std::int64_t i, std::int64_t j, double value) {
      q[static_cast<std::size_t>(i * b + j)] = sign * value;
    });
    cayley_minus_identity(q, b);
    std::ranges::transform(q, to, [](double value) { return static_cast<float>(value); });
  };
  const std::int64_t count = factors * rotations.blocks();
  // One big block is shared out inside, many small ones here.
#pragma omp parallel for schedule(dynamic) if (count > 1)
  for (std::int64_t d = 0; d < count; ++d) make_block(d);
  return result;
}

class OftDelta : public ModuleDelta {
 public:
  /// `parts` stand below each other; `rescale` f32 [out] or absent.
  OftDelta(std::vector<Rotations> parts, Tensor rescale)
      : parts_(std::move(parts)), rescale_(std::move(rescale)) {}

  std::int64_t rank() const override { return parts_.front().blocks(); }
  bool is_zero() const override;
  bool is_linear() const override { return !rescale_.defined() && parts_.front().factors() == 1; }
  bool needs_base() const override { return true; }
  Tensor weight_change(const Pristine& base, float strength, std::int64_t ranks) const override;

 private:
  const std::vector<Tensor>& rotations() const;
  std::vector<Rotations> parts_;
  Tensor rescale_;
  mutable std::once_flag once_;
  mutable std::vector<Tensor>
      rotations_;  ///< of every part; made on first use: files are bound fast
};

bool OftDelta::is_zero() const {
  const bool turns = std::ranges::any_of(parts_, [](const Rotations& part) {
    return part.is_direct || (part.scale != 0 && !is_all_zero(part.stored));
  });
  if (turns || !rescale_.defined()) return !turns;
  return std::ranges::all_of(rescale_.floats(), [](float value) { return value == 1; });
}

const std::vector<Tensor>& OftDelta::rotations() const {
  std::call_once(once_, [this] {
    for (const Rotations& part : parts_) rotations_.push_back(differences(part));
  });
  return rotations_;
}

Tensor OftDelta::weight_change(const Pristine& base, float strength, std::int64_t) const {
  const Tensor weight = base();
  const std::int64_t columns = weight.count() / weight.size(0);
  Tensor change = Tensor::zeros(weight.shape(), DType::f32);
  std::size_t offset = 0;
  for (std::size_t p = 0; p < parts_.size(); ++p) {
    const Rotations& part = parts_[p];
    const auto elements = static_cast<std::size_t>(part.rows() * columns);
    const std::int64_t b = part.block();
    for (std::int64_t factor = 0; factor < part.factors(); ++factor) {
      const Tensor blocks =
          rotations()[p].slice(factor, factor + 1).reshaped({part.blocks(), b, b});
      const RowOrder order{part.stored.rank() == 4 ? (b / 2) << factor : 0};
      add_rotated_rows(blocks, order, strength, weight.floats().subspan(offset, elements),
                       change.mutable_floats().subspan(offset, elements), columns);
    }
    offset += elements;
  }
  if (!rescale_.defined()) return change;
  const float* scale = rescale_.data<float>();
  const float* original = weight.data<float>();
  float* values = change.mutable_data<float>();
#pragma omp parallel for
  for (std::int64_t o = 0; o < weight.size(0); ++o) {
    const double growth = strength * (static_cast<double>(scale[o]) - 1);
    for (std::int64_t i = o * columns; i < (o + 1) * columns; ++i)
      values[i] = static_cast<float>(growth * original[i] + (1 + growth) * values[i]);
  }
  return change;
}

[[noreturn]] void fail_shape(const ModuleInput& input, const Tensor& stored, std::int64_t rows) {
  fail(ErrorKind::mismatch,
       "the rotations {} of \"{}\" do not tile {} rows of the weight {} of \"{}\": [n, b, b] with "
       "n · b = {} is expected",
       stored.shape().to_string(), input.module.name, rows, input.weight.to_string(), input.path,
       rows);
}

bool tiles(const Tensor& stored, std::int64_t rows) {
  const std::int64_t b = stored.size(-1), n = stored.size(-3);
  return b >= 1 && n >= 1 && stored.size(-2) == b && n <= rows / b && n * b == rows;
}

/// Factor i pairs rows at a distance of 2^i · b / 2, in groups of 2^i · b that must tile the rows.
void check_butterfly(const ModuleInput& input, const Tensor& stored) {
  const std::int64_t factors = stored.size(0), b = stored.size(-1), rows = input.out();
  if (factors < 1 || !tiles(stored, rows)) {
    fail(ErrorKind::mismatch,
         "the butterfly factors {} of \"{}\" do not tile the {} rows of \"{}\": [k, n, b, b] with "
         "n · b = {} is expected",
         stored.shape().to_string(), input.module.name, rows, input.path, rows);
  }
  if (b % 2 != 0) {
    fail(ErrorKind::mismatch,
         "the butterfly factors {} of \"{}\" have blocks of {} rows; an even number is expected",
         stored.shape().to_string(), input.module.name, b);
  }
  std::int64_t group = b;
  for (std::int64_t factor = 0; factor < factors; ++factor) {
    if (group > rows || rows % group != 0) {
      fail(ErrorKind::mismatch,
           "factor {} of the butterfly {} of \"{}\" works on groups of {} rows, which do not tile "
           "the {} rows of \"{}\"",
           factor, stored.shape().to_string(), input.module.name, group, rows, input.path);
    }
    group *= 2;
  }
}

/// kohya trains with a constraint always and calls the U-Net so; only its FLUX version has lists.
bool is_kohya(const ModuleInput& input) {
  return input.module.name.starts_with("oft_unet_") || has(input, Role::oft_list);
}

/// What holds ‖Q‖ within α · rows. α 0 lets nothing turn in kohya's files and everything in
/// LyCORIS'.
double constraint_scale(const ModuleInput& input, const Tensor& stored, std::int64_t rows) {
  if (!has(input, Role::alpha)) return 1;
  const double alpha = read_number(input, Role::alpha);
  const bool kohya = is_kohya(input);
  if (kohya && alpha == 0) return 0;
  if (!kohya && alpha <= 0) return 1;
  constexpr double kGuard = 1e-8;  // of both trainers
  const double norm = skew_norm(stored), limit = alpha * static_cast<double>(rows);
  return (std::min(norm, limit) + kGuard) / (norm + kGuard);
}

/// One tensor a slice of a fused layer, below each other.
std::vector<Rotations> read_list(const ModuleInput& input) {
  std::vector<Rotations> parts;
  std::int64_t rows = 0;
  for (const auto& [number, name] : input.module.numbered) {
    if (number != static_cast<int>(parts.size())) {
      fail(ErrorKind::mismatch, "\"{}\" has oft_blocks.{} but no oft_blocks.{}", input.module.name,
           number, parts.size());
    }
    FileModule slice = input.module;
    slice.tensors[Role::oft_list] = name;
    Tensor stored = read_finite({.file = input.file,
                                 .module = slice,
                                 .path = input.path,
                                 .kind = input.kind,
                                 .weight = input.weight,
                                 .has_bias = input.has_bias,
                                 .component = input.component},
                                Role::oft_list);
    const std::int64_t left = input.out() - rows;
    if (stored.rank() != 3 || stored.size(2) < 1 || stored.size(0) > left / stored.size(2) ||
        !tiles(stored, stored.size(0) * stored.size(2)))
      fail_shape(input, stored, left);
    Rotations part{.stored = stored};
    part.scale = constraint_scale(input, stored, part.rows());
    rows += part.rows();
    parts.push_back(std::move(part));
  }
  if (rows != input.out()) {
    fail(
        ErrorKind::mismatch,
        "the {} lists of rotations of \"{}\" have {} rows together, the weight {} of \"{}\" has {}",
        parts.size(), input.module.name, rows, input.weight.to_string(), input.path, input.out());
  }
  return parts;
}

std::vector<Rotations> read_parts(const ModuleInput& input) {
  if (has(input, Role::oft_list)) return read_list(input);
  const bool is_direct = !has(input, Role::oft_blocks);
  const Tensor stored = read_finite(input, is_direct ? Role::oft_diag : Role::oft_blocks);
  if (stored.rank() == 4 && !is_direct) {
    check_butterfly(input, stored);
  } else if (stored.rank() != 3 || !tiles(stored, input.out())) {
    fail_shape(input, stored, input.out());
  }
  const double scale = is_direct ? 1 : constraint_scale(input, stored, input.out());
  return {{.stored = stored, .scale = scale, .is_direct = is_direct}};
}

}  // namespace

std::unique_ptr<ModuleDelta> make_oft(const ModuleInput& input) {
  require_product_layer(input, "a rotation");
  std::vector<Rotations> parts = read_parts(input);
  Tensor rescale;
  if (has(input, Role::rescale)) {
    rescale = read_f32(input, Role::rescale);
    if (rescale.count() != input.out()) {
      fail(ErrorKind::mismatch,
           "rescale {} of \"{}\" does not have one value for each of the {} rows of \"{}\"",
           rescale.shape().to_string(), input.module.name, input.out(), input.path);
    }
    rescale = rescale.reshaped({input.out()});
  }
  return std::make_unique<OftDelta>(std::move(parts), std::move(rescale));
}

}  // namespace velatura::lora
