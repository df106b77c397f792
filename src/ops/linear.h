// Matrix product with a weight, and what may ride on its end.
#pragma once

#include "ops/activation.h"
#include "ops/weight.h"
#include "tensor/tensor.h"

namespace velatura::ops {

class Context;

/// What happens to a product before it is stored: y = activation(product + bias) + residual.
/// `residual` has y's shape and type; null for none.
struct Epilogue {
  Activation activation = Activation::none;
  const Tensor* residual = nullptr;
};

/// x [..., in], weight [out, in], bias f32 [out] or absent → [..., out] in x's type. Accumulates in
/// f32; weights of another type are converted to x's type once (f32 activations compute with f32
/// weights).
Tensor linear(Context& context, const Tensor& x, const Weight& weight, const Tensor& bias,
              const Epilogue& epilogue = {});

}  // namespace velatura::ops
