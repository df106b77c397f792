// LoRA (Hu et al. 2021) and LoCon: ΔW = (α/r) · B·A for linear layers and convolutions
// (lora-formats §1.1, §1.2, §1.7).
#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "lora/algorithms/algorithm.h"

namespace velatura::lora {

namespace {

class LoraDelta : public ModuleDelta {
 public:
  LoraDelta(ThinFactors factors, Shape weight) : factors_(std::move(factors)), weight_(weight) {}
  std::int64_t rank() const override { return factors_.up.size(1); }
  const ThinFactors* thin() const override { return &factors_; }
  Tensor dense(std::int64_t ranks) const override;

 private:
  ThinFactors factors_;
  Shape weight_;
};

Tensor LoraDelta::dense(std::int64_t ranks) const {
  const std::int64_t stored = rank(), used = ranks > 0 ? std::min(ranks, stored) : stored;
  const std::int64_t out = weight_[0], columns = weight_.count() / std::max<std::int64_t>(out, 1);
  Tensor delta = Tensor::zeros(weight_, DType::f32);
  const float* up = factors_.up.data<float>();
  const float* down = factors_.down.data<float>();
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

/// True when `pattern` names `module` as PEFT reads it: the end of the path after a dot, "^"
/// anchoring the whole.
bool pattern_matches(std::string_view pattern, std::string_view module) {
  if (pattern.starts_with('^')) {
    pattern.remove_prefix(1);
    if (pattern.ends_with('$')) pattern.remove_suffix(1);
    return module == pattern;
  }
  return module == pattern || (module.ends_with(pattern) && module.size() > pattern.size() &&
                               module[module.size() - pattern.size() - 1] == '.');
}

float scalar_value(const ModuleInput& input, Role role) {
  const Tensor value = read_finite(input, role);
  if (value.count() != 1) {
    fail(ErrorKind::bad_file, "tensor \"{}\" has shape {}, one element is expected",
         input.module.tensors.at(role), value.shape().to_string());
  }
  return value.data<float>()[0];
}

/// The factor before B·A: a stored `scale` wins, then α/r, then what stands outside the tensors,
/// else 1.
double scale_of(const ModuleInput& input, std::int64_t rank) {
  const auto& tensors = input.module.tensors;
  if (tensors.contains(Role::scale)) return scalar_value(input, Role::scale);
  double scale = 1;
  if (tensors.contains(Role::alpha)) {
    scale = scalar_value(input, Role::alpha) / static_cast<double>(rank);
  } else if (const PeftScaling* outside = input.file.peft_scaling(input.component)) {
    double alpha = outside->alpha.value_or(static_cast<double>(rank));
    for (const auto& [pattern, value] : outside->alpha_pattern) {
      if (pattern_matches(pattern, input.layer.path)) alpha = value;
    }
    scale = alpha / (outside->rank_stabilised ? std::sqrt(static_cast<double>(rank))
                                              : static_cast<double>(rank));
  }
  if (tensors.contains(Role::scalar)) scale *= scalar_value(input, Role::scalar);
  return scale;
}

}  // namespace

std::unique_ptr<ModuleDelta> make_lora(const ModuleInput& input) {
  const Shape& weight = input.layer.weight->shape();
  const nn::LayerKind kind = input.layer.kind;
  if (kind != nn::LayerKind::linear && kind != nn::LayerKind::conv2d) {
    fail(ErrorKind::mismatch, "a LoRA pair on \"{}\", which is neither linear nor a convolution",
         input.layer.path);
  }
  const Tensor down = read_finite(input, Role::down);
  const Tensor up = read_finite(input, Role::up);
  if (down.rank() < 2 || up.rank() < 2 || down.size(0) < 1) {
    fail(ErrorKind::bad_file,
         "down {} and up {} of \"{}\" are no pair of matrices of rank 1 or more",
         down.shape().to_string(), up.shape().to_string(), input.module.name);
  }
  // Convolution factors come with four axes or two, linear ones with unit axes: the element count
  // decides, so a 1×1 convolution's pair serves a linear layer and the reverse.
  const std::int64_t rank = down.size(0), out = weight[0],
                     columns = weight.count() / std::max<std::int64_t>(out, 1);
  if (down.count() != rank * columns || up.size(0) != out || up.count() != out * rank) {
    fail(ErrorKind::mismatch, "down {} and up {} do not fit the weight {} of \"{}\"",
         down.shape().to_string(), up.shape().to_string(), weight.to_string(), input.layer.path);
  }
  const Shape down_shape =
      weight.rank() == 4 ? Shape{rank, weight[1], weight[2], weight[3]} : Shape{rank, columns};
  return std::make_unique<LoraDelta>(
      ThinFactors{.down = down.reshaped(down_shape),
                  .up = up.reshaped({out, rank}),
                  .scale = static_cast<float>(scale_of(input, rank))},
      weight);
}

}  // namespace velatura::lora
