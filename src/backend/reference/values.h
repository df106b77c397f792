// Activations as f32, whatever their stored type, and results rounded once on the way back.
#pragma once

#include <concepts>

#include "ops/activation.h"
#include "tensor/tensor.h"

namespace velatura::backend::reference {

/// Rounds `values` (f32, y's count) into y's type.
void store(const Tensor& values, Tensor& y);

/// Calls `compute(float* out)` with room for y's values and stores what it wrote. `out` is y itself
/// when y is f32.
template <std::invocable<float*> Compute>
void compute_f32(Tensor& y, const Compute& compute) {
  if (y.dtype() == DType::f32) {
    compute(y.mutable_data<float>());
    return;
  }
  Tensor values = Tensor::allocate(y.shape(), DType::f32);
  compute(values.mutable_data<float>());
  store(values, y);
}

/// One value through a nonlinearity.
float activate(float x, ops::Activation kind);

}  // namespace velatura::backend::reference
