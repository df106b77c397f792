// (IA)³ (Liu et al. 2022), as LyCORIS and as PEFT write it: rows or columns of the weight grow
// (lora-formats §1.9). Where PEFT's vector has a value for each output it multiplies what the layer
// gives, the bias included (PEFT 0.21, tuners/ia3/layer.py); LyCORIS' multiplies the weight alone
// (LyCORIS 4.1, modules/ia3.py).
#include <algorithm>
#include <vector>

#include "base/error.h"
#include "lora/algorithms/algorithm.h"
#include "lora/algorithms/matrix.h"

namespace velatura::lora {

namespace {

enum class Axis { output, input };

class Ia3Delta : public ModuleDelta {
 public:
  /// `growth` of every row or column at strength 1: W' = W ∘ (1 + growth), and so the bias where it
  /// `grows_bias`.
  Ia3Delta(Tensor growth, Axis axis, bool grows_bias, std::string remark)
      : growth_(std::move(growth)),
        axis_(axis),
        grows_bias_(grows_bias),
        remark_(std::move(remark)) {}
  std::string remark() const override { return remark_; }
  bool is_zero() const override { return is_all_zero(growth_); }
  bool needs_base() const override { return true; }
  Tensor weight_change(const Pristine& base, float strength, std::int64_t) const override {
    const Tensor weight = base();
    Tensor change = Tensor::allocate(weight.shape(), DType::f32);
    const std::int64_t rows = weight.size(0), inputs = weight.size(1);
    const std::int64_t kernel = weight.count() / std::max<std::int64_t>(rows * inputs, 1);
    const float* source = weight.data<float>();
    const float* growth = growth_.data<float>();
    float* target = change.mutable_data<float>();
#pragma omp parallel for
    for (std::int64_t o = 0; o < rows; ++o) {
      for (std::int64_t i = 0; i < inputs; ++i) {
        const float factor = strength * growth[axis_ == Axis::output ? o : i];
        const std::int64_t begin = (o * inputs + i) * kernel;
        for (std::int64_t k = begin; k < begin + kernel; ++k) target[k] = factor * source[k];
      }
    }
    return change;
  }
  Tensor bias_change(const Pristine& bias, float strength) const override {
    if (!grows_bias_) return {};
    Tensor change = scaled(bias(), strength);
    const float* growth = growth_.data<float>();
    float* values = change.mutable_data<float>();
    for (std::int64_t o = 0; o < change.count(); ++o) values[o] *= growth[o];
    return change;
  }

 private:
  Tensor growth_;
  Axis axis_;
  bool grows_bias_;
  std::string remark_;
};

/// PEFT leaves the axis to the shape: [out, 1], [1, in]. Of convolutions it is [1, n, 1, 1] with
/// either; where both fit, its configuration tells (PEFT 0.21, tuners/ia3/layer.py, _ConvNd), and
/// without one the vector is read as its shape says, with a `remark`.
Axis axis_of(const ModuleInput& input, const Shape& vector, std::string& remark) {
  if (has(input, Role::ia3_on_input))
    return read_number(input, Role::ia3_on_input) != 0 ? Axis::input : Axis::output;
  const std::int64_t n = vector.count();
  const bool fits_outputs = n == input.out(), fits_inputs = n == input.weight[1];
  if (vector.rank() == 1 || vector[0] == n) return fits_outputs ? Axis::output : Axis::input;
  if (!fits_outputs || !fits_inputs || input.weight.rank() != 4)
    return fits_inputs ? Axis::input : Axis::output;
  const PeftScaling* outside = input.file.peft_scaling(input.component);
  const auto is_feedforward =
      outside == nullptr ? std::nullopt
                         : outside->is_feedforward({.name = input.module.name, .path = input.path});
  if (!is_feedforward) {
    remark =
        "fits the inputs and the outputs of the convolution and is taken for the inputs: PEFT's "
        "adapter_config.json (feedforward_modules), which tells, is not beside the file";
    return Axis::input;
  }
  return *is_feedforward ? Axis::input : Axis::output;
}

}  // namespace

std::unique_ptr<ModuleDelta> make_ia3(const ModuleInput& input) {
  require_product_layer(input, "an (IA)³ vector");
  const Tensor vector = read_f32(input, Role::ia3);
  std::string remark;
  const Axis axis = axis_of(input, vector.shape(), remark);
  const std::int64_t expected = axis == Axis::output ? input.out() : input.weight[1];
  if (vector.rank() < 1 || std::ranges::max(vector.shape().extents()) != vector.count() ||
      vector.count() != expected) {
    fail(ErrorKind::mismatch,
         "the (IA)³ vector {} of \"{}\" does not fit the weight {} of \"{}\": {} values, one for "
         "each {}, are expected",
         vector.shape().to_string(), input.module.name, input.weight.to_string(), input.path,
         expected, axis == Axis::output ? "row" : "input channel");
  }
  // LyCORIS stores what is added to 1, PEFT the factor itself.
  const bool is_peft = !has(input, Role::ia3_on_input);
  const double unit = is_peft ? 1 : 0;
  std::vector<float> growth(static_cast<std::size_t>(expected));
  std::ranges::transform(vector.floats(), growth.begin(),
                         [unit](float value) { return static_cast<float>(value - unit); });
  return std::make_unique<Ia3Delta>(Tensor::from(growth, {expected}), axis,
                                    is_peft && axis == Axis::output && input.has_bias,
                                    std::move(remark));
}

}  // namespace velatura::lora
