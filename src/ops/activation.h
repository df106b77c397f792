// Pointwise nonlinearities, alone or as the end of a product, and the gated one of UNet
// feed-forwards.
#pragma once

#include "tensor/tensor.h"

namespace velatura::ops {

class Context;

/// silu(x) = x·sigmoid(x); gelu(x) = x·Φ(x) with the exact erf; quick_gelu(x) = x·sigmoid(1.702·x)
/// (CLIP); leaky_relu has slope 0.2 below zero (ESRGAN).
enum class Activation { none, silu, gelu, quick_gelu, relu, leaky_relu };

/// y = f(x), same shape and type.
Tensor activation(Context& context, const Tensor& x, Activation kind);

/// x [..., 2M] = [value | gate] → value · gelu(gate), [..., M] (Shazeer 2020, as diffusers' GEGLU
/// orders the halves).
Tensor geglu(Context& context, const Tensor& x);

}  // namespace velatura::ops
