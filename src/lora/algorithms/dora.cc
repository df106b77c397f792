// DoRA (Liu et al. 2024) around an additive kind: W' = W + m · (g ∘ V / N(V) − W) with
// V = W + ΔW at strength 1 (lora-formats §1.6). No epsilon is added to the norm: the reference has
// none, and a V of zeros is left at zero.
#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "lora/algorithms/algorithm.h"
#include "lora/algorithms/matrix.h"

namespace velatura::lora {

namespace {

enum class Axis {
  output,  ///< a magnitude and a norm for each row
  input,   ///< for each input channel, over rows and kernel
};

/// V and W side by side, as [rows, inputs, kernel].
struct Layout {
  std::int64_t rows, inputs, kernel;
  explicit Layout(const Shape& weight)
      : rows(weight[0]),
        inputs(weight[1]),
        kernel(weight.count() / std::max<std::int64_t>(rows * inputs, 1)) {}
  std::int64_t columns() const { return inputs * kernel; }
};

class DoraDelta : public ModuleDelta {
 public:
  DoraDelta(std::unique_ptr<ModuleDelta> inner, Tensor magnitude, Axis axis)
      : inner_(std::move(inner)), magnitude_(std::move(magnitude)), axis_(axis) {}
  std::int64_t rank() const override { return inner_->rank(); }
  bool needs_base() const override { return true; }
  Tensor weight_change(const Pristine& base, float strength, std::int64_t ranks) const override;
  Tensor bias_change(const Pristine& bias, float strength) const override {
    return inner_->bias_change(bias, strength);
  }

 private:
  void change_rows(const Layout& layout, const float* weight, float strength, float* change) const;
  void change_columns(const Layout& layout, const float* weight, float strength,
                      float* change) const;
  /// g / ‖V‖, from the sum of squares.
  double growth(std::int64_t index, double squares) const {
    return squares > 0 ? magnitude_.data<float>()[index] / std::sqrt(squares) : 0;
  }
  std::unique_ptr<ModuleDelta> inner_;
  Tensor magnitude_;
  Axis axis_;
};

double square_of_sum(float a, float b) {
  const double sum = static_cast<double>(a) + static_cast<double>(b);
  return sum * sum;
}

/// m · (growth · (W + ΔW) − W), in double: it is the small difference of large numbers.
void change_run(const float* weight, float* change, std::int64_t count, double growth,
                float strength) {
  for (std::int64_t i = 0; i < count; ++i) {
    const double original = weight[i];
    change[i] = static_cast<float>(strength * (growth * (original + change[i]) - original));
  }
}

void DoraDelta::change_rows(const Layout& layout, const float* weight, float strength,
                            float* change) const {
#pragma omp parallel for
  for (std::int64_t o = 0; o < layout.rows; ++o) {
    const float* original = weight + o * layout.columns();
    float* row = change + o * layout.columns();
    double squares = 0;
    for (std::int64_t i = 0; i < layout.columns(); ++i)
      squares += square_of_sum(original[i], row[i]);
    change_run(original, row, layout.columns(), growth(o, squares), strength);
  }
}

void DoraDelta::change_columns(const Layout& layout, const float* weight, float strength,
                               float* change) const {
  // A few channels a task: every task reads runs of a row, and no sum depends on how many tasks
  // there are.
  constexpr std::int64_t kChannels = 64;
#pragma omp parallel for
  for (std::int64_t first = 0; first < layout.inputs; first += kChannels) {
    const std::int64_t channels = std::min(kChannels, layout.inputs - first);
    std::vector<double> squares(static_cast<std::size_t>(channels));
    for (std::int64_t o = 0; o < layout.rows; ++o) {
      const std::int64_t at = o * layout.columns() + first * layout.kernel;
      for (std::int64_t i = 0; i < channels * layout.kernel; ++i) {
        squares[static_cast<std::size_t>(i / layout.kernel)] +=
            square_of_sum(weight[at + i], change[at + i]);
      }
    }
    for (std::int64_t o = 0; o < layout.rows; ++o) {
      for (std::int64_t c = 0; c < channels; ++c) {
        const std::int64_t at = o * layout.columns() + (first + c) * layout.kernel;
        change_run(weight + at, change + at, layout.kernel,
                   growth(first + c, squares[static_cast<std::size_t>(c)]), strength);
      }
    }
  }
}

Tensor DoraDelta::weight_change(const Pristine& base, float strength, std::int64_t ranks) const {
  const Tensor weight = base();
  const Tensor added = inner_->weight_change(base, 1, ranks);
  Tensor change = added.defined() ? added.clone() : Tensor::zeros(weight.shape(), DType::f32);
  const Layout layout(weight.shape());
  if (axis_ == Axis::output) {
    change_rows(layout, weight.data<float>(), strength, change.mutable_data<float>());
  } else {
    change_columns(layout, weight.data<float>(), strength, change.mutable_data<float>());
  }
  return change;
}

/// Which axis the magnitude stands for. PEFT's vector means rows in whatever shape; else one axis
/// says it, and the place of the other axes' ones decides where out = in.
Axis axis_of(const ModuleInput& input, Role role, const Shape& magnitude) {
  const std::int64_t count = magnitude.count(), inputs = input.weight[1];
  if (role == Role::magnitude_vector || magnitude.rank() < 2) {
    if (count == input.out()) return Axis::output;
  } else if (magnitude[0] == count && count == input.out()) {
    return Axis::output;
  } else if (magnitude[0] == 1 && magnitude[1] == count && count == inputs) {
    return Axis::input;
  }
  fail(ErrorKind::mismatch,
       "the DoRA magnitude {} of \"{}\" does not fit the weight {} of \"{}\": {} values are "
       "expected, or [1, {}] for input channels",
       magnitude.to_string(), input.module.name, input.weight.to_string(), input.path, input.out(),
       inputs);
}

}  // namespace

std::unique_ptr<ModuleDelta> make_dora(const ModuleInput& input,
                                       std::unique_ptr<ModuleDelta> inner) {
  require_product_layer(input, "DoRA");
  const Role role = has(input, Role::magnitude_vector) ? Role::magnitude_vector : Role::dora_scale;
  const Tensor magnitude = read_f32(input, role);
  const Axis axis = axis_of(input, role, magnitude.shape());
  return std::make_unique<DoraDelta>(std::move(inner), magnitude, axis);
}

}  // namespace velatura::lora
