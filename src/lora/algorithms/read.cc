// Values out of an adapter's tensors, checked.
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/error.h"
#include "lora/algorithms/algorithm.h"

namespace velatura::lora {

namespace {

/// True when no element has all bits of `exponent` set, which is how NaN and infinity look. One
/// pass without branches, since files of hundreds of megabytes come along here.
template <typename Bits>
bool none_has(const Tensor& values, Bits exponent) {
  const Bits* bits = values.data<Bits>();
  Bits bad = 0;
  for (std::int64_t i = 0; i < values.count(); ++i)
    bad = static_cast<Bits>(bad | ((bits[i] & exponent) == exponent));
  return bad == 0;
}

bool is_finite(const Tensor& values) {
  switch (values.dtype()) {
    case DType::f16:
      return none_has<std::uint16_t>(values, 0x7c00);
    case DType::bf16:
      return none_has<std::uint16_t>(values, 0x7f80);
    default:
      return none_has<std::uint32_t>(values, 0x7f800000);
  }
}

template <typename Bits>
bool none_set(const Tensor& values, Bits magnitude) {
  const Bits* bits = values.data<Bits>();
  return std::all_of(bits, bits + values.count(),
                     [magnitude](Bits value) { return (value & magnitude) == 0; });
}

}  // namespace

bool is_all_zero(const Tensor& values) {
  return size_of(values.dtype()) == 2 ? none_set<std::uint16_t>(values, 0x7fff)
                                      : none_set<std::uint32_t>(values, 0x7fffffff);
}

Tensor read_finite(const ModuleInput& input, Role role) {
  const std::string& name = input.module.tensors.at(role);
  const Tensor stored = input.file.source().load(name);
  if (!is_floating(stored.dtype())) {
    fail(ErrorKind::bad_file, "tensor \"{}\" is {}, a floating type is expected", name,
         velatura::to_string(stored.dtype()));
  }
  const bool keeps_type = stored.dtype() == DType::f16 || stored.dtype() == DType::bf16;
  Tensor values = keeps_type ? stored : to_f32(stored);
  if (!is_finite(values)) fail(ErrorKind::bad_file, "tensor \"{}\" holds NaN or infinity", name);
  return values;
}

double read_number(const ModuleInput& input, Role role) {
  const std::string& name = input.module.tensors.at(role);
  const Tensor value = to_f32(input.file.source().load(name));
  if (value.count() != 1) {
    fail(ErrorKind::bad_file, "tensor \"{}\" has shape {}, one element is expected", name,
         value.shape().to_string());
  }
  const float number = value.data<float>()[0];
  if (!std::isfinite(number)) fail(ErrorKind::bad_file, "tensor \"{}\" is {}", name, number);
  return number;
}

Tensor read_f32(const ModuleInput& input, Role role) {
  return to_f32(read_finite(input, role));
}

float finite_scale(const ModuleInput& input, double scale) {
  const auto factor = static_cast<float>(scale);
  if (!std::isfinite(factor)) {
    fail(ErrorKind::bad_file, "the scale of \"{}\", {}, is beyond float32", input.module.name,
         scale);
  }
  return factor;
}

float scale_of(const ModuleInput& input, std::int64_t rank) {
  double scale = 1;
  if (has(input, Role::scale)) {
    scale = read_number(input, Role::scale);
  } else if (has(input, Role::alpha)) {
    scale = read_number(input, Role::alpha) / static_cast<double>(rank);
  } else if (const PeftScaling* outside = input.file.peft_scaling(input.component)) {
    scale = outside->factor({.name = input.module.name, .path = input.path}, rank);
  }
  if (has(input, Role::scalar)) scale *= read_number(input, Role::scalar);
  return finite_scale(input, scale);
}

}  // namespace velatura::lora
