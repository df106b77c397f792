// OFT v2 on input columns, as PEFT (tuners/oft/layer.py) and OneTrainer write it: lora-formats
// §1.10.
#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "lora/algorithms/algorithm.h"
#include "lora/algorithms/matrix.h"
#include "lora/algorithms/rotation.h"

namespace velatura::lora {

namespace {

/// a · b of square matrices.
std::vector<double> multiply(const std::vector<double>& a, const std::vector<double>& b,
                             std::int64_t extent) {
  std::vector<double> result(a.size());
  for (std::int64_t i = 0; i < extent; ++i) {
    double* row = result.data() + i * extent;
    for (std::int64_t k = 0; k < extent; ++k) {
      const double factor = a[static_cast<std::size_t>(i * extent + k)];
      const double* source = b.data() + k * extent;
      for (std::int64_t j = 0; j < extent; ++j) row[j] += factor * source[j];
    }
  }
  return result;
}

/// R − I for PEFT's series of `terms` terms. With 5: 2Q + 2Q² + 2Q³ + Q⁴. PEFT's loop adds its last
/// power after Q² whatever the number, so that 3 terms give what 4 give.
std::vector<double> series_minus_identity(const std::vector<double>& q, std::int64_t b, int terms) {
  std::vector<double> result(q.size()), power = q;
  const auto add = [&](double factor) {
    for (std::size_t i = 0; i < result.size(); ++i) result[i] += factor * power[i];
  };
  if (terms < 2) return result;
  add(2);
  if (terms < 3) return result;
  power = multiply(power, q, b);
  add(2);
  for (int term = 3; term < terms - 1; ++term) {
    power = multiply(power, q, b);
    add(2);
  }
  power = multiply(power, q, b);
  add(1);
  return result;
}

/// How the stored entries become rotations.
struct Reading {
  std::int64_t block = 0;
  double scale = 1;           ///< of the entries
  bool is_transposed = true;  ///< W' = W·Rᵀ; else W·R
  PeftRotation rotation;
};

/// What holds Q of a block within the constraint, given its Frobenius norm.
double constraint_scale(const PeftRotation& rotation, std::int64_t blocks, double norm) {
  if (!rotation.is_constrained) return 1;
  const double limit = rotation.eps / std::sqrt(static_cast<double>(blocks));
  return norm <= limit ? 1 : limit / norm;
}

/// ‖Q‖ of one stored block, before any constraint.
double block_norm(const float* entries, std::int64_t count, double scale) {
  double sum = 0;
  for (std::int64_t e = 0; e < count; ++e) sum += static_cast<double>(entries[e]) * entries[e];
  return scale * std::sqrt(2 * sum);
}

class OftV2Delta : public ModuleDelta {
 public:
  OftV2Delta(Tensor stored, Reading reading) : stored_(std::move(stored)), reading_(reading) {}
  std::int64_t rank() const override { return stored_.size(0); }
  bool is_zero() const override { return is_all_zero(stored_); }
  bool needs_base() const override { return true; }
  Tensor weight_change(const Pristine& base, float strength, std::int64_t) const override {
    std::call_once(once_, [this] { rotations_ = differences(); });
    const Tensor weight = base();
    Tensor change = Tensor::allocate(weight.shape(), DType::f32);
    set_rotated_columns(rotations_, strength, weight.floats(), change.mutable_floats(),
                        weight.count() / weight.size(0));
    return change;
  }

 private:
  Tensor differences() const;
  Tensor stored_;  ///< [n, b(b−1)/2]: the triangle above the diagonal, row by row
  Reading reading_;
  mutable std::once_flag once_;
  mutable Tensor rotations_;  ///< [n, b, b] of D in W' − W = W·D; made on first use
};

Tensor OftV2Delta::differences() const {
  const Tensor values = to_f32(stored_);
  const std::int64_t b = reading_.block, count = values.size(0), entries = values.size(1);
  const PeftRotation& rotation = reading_.rotation;
  Tensor result = Tensor::allocate({count, b, b}, DType::f32);
  const float* source = values.data<float>();
  float* target = result.mutable_data<float>();
  // Turning the other way transposes R. PEFT's two forms turn in opposite directions.
  const double direction = reading_.is_transposed == rotation.is_series ? -1 : 1;
  const auto make_block = [&](std::int64_t d) {
    const float* from = source + d * entries;
    const double scale =
        direction * reading_.scale *
        constraint_scale(rotation, count, block_norm(from, entries, reading_.scale));
    std::vector<double> q(static_cast<std::size_t>(b * b));
    for (std::int64_t i = 0; i < b; ++i) {
      for (std::int64_t j = i + 1; j < b; ++j, ++from) {
        q[static_cast<std::size_t>(i * b + j)] = scale * *from;
        q[static_cast<std::size_t>(j * b + i)] = -scale * *from;
      }
    }
    if (rotation.is_series) {
      q = series_minus_identity(q, b, rotation.terms);
    } else {
      cayley_minus_identity(q, b);
    }
    std::ranges::transform(q, target + d * b * b,
                           [](double value) { return static_cast<float>(value); });
  };
#pragma omp parallel for schedule(dynamic) if (count > 1)
  for (std::int64_t d = 0; d < count; ++d) make_block(d);
  return result;
}

/// b with b(b − 1)/2 entries above the diagonal; 0 for a number that is no triangle's.
std::int64_t block_of(std::int64_t entries) {
  const auto b = static_cast<std::int64_t>(
      std::llround((1 + std::sqrt(1 + 8 * static_cast<double>(entries))) / 2));
  return entries >= 1 && b * (b - 1) / 2 == entries ? b : 0;
}

/// A long series of a large Q has no finite sum; better said than drawn.
void check_range(const ModuleInput& input, const Tensor& stored, const Reading& reading) {
  if (!reading.rotation.is_series) return;
  const Tensor values = to_f32(stored);
  const std::int64_t count = values.size(0), entries = values.size(1);
  for (std::int64_t d = 0; d < count; ++d) {
    const double norm = block_norm(values.data<float>() + d * entries, entries, reading.scale);
    const double held = norm * constraint_scale(reading.rotation, count, norm);
    double power = 1, sum = 0;
    for (int term = 1; term <= std::max(reading.rotation.terms - 1, 3); ++term)
      sum += 2 * (power *= held);
    if (!(sum < static_cast<double>(std::numeric_limits<float>::max()))) {
      fail(ErrorKind::bad_file, "block {} of \"{}\" has the norm {}; its series is beyond float32",
           d, input.module.tensors.at(Role::oft_r), norm);
    }
  }
}

/// PEFT wraps names so and writes a configuration; OneTrainer does neither.
bool is_peft(const ModuleInput& input) {
  return input.file.peft_scaling(input.component) != nullptr ||
         input.module.name.find("base_model.model.") != std::string::npos;
}

}  // namespace

std::unique_ptr<ModuleDelta> make_oft_v2(const ModuleInput& input) {
  require_product_layer(input, "a rotation");
  const Tensor stored = read_finite(input, Role::oft_r);
  const std::int64_t columns = input.columns();
  const bool has_axes = stored.rank() == 2 && stored.size(0) >= 1;
  const std::int64_t b = has_axes ? block_of(stored.size(1)) : 0;
  const std::int64_t n = has_axes ? stored.size(0) : 0;
  if (b == 0 || columns % b != 0 || (n != 1 && n != columns / b)) {
    fail(ErrorKind::mismatch,
         "the rotations {} of \"{}\" do not tile the {} columns of the weight {} of \"{}\": "
         "[n, b(b−1)/2] with n · b = {} or n = 1 is expected",
         stored.shape().to_string(), input.module.name, columns, input.weight.to_string(),
         input.path, columns);
  }
  Reading reading{.block = b};
  if (has(input, Role::oft_scaled)) reading.scale = 0.5 / std::sqrt(static_cast<double>(b - 1));
  reading.is_transposed = input.kind == nn::LayerKind::linear || is_peft(input);
  if (const PeftScaling* outside = input.file.peft_scaling(input.component))
    reading.rotation = outside->rotation;
  check_range(input, stored, reading);
  return std::make_unique<OftV2Delta>(stored, reading);
}

}  // namespace velatura::lora
