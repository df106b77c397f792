// The vectorised kernels between products, dispatched at run time by Highway to the best
// instruction set. Arguments are checked by ops/; types are f32 or bf16 unless said. Each is
// parallel and independent of the number of threads.
#pragma once

#include <cstdint>

#include "ops/norm.h"
#include "tensor/tensor.h"

namespace velatura::backend::cpu {

void group_norm(const Tensor& x, const ops::GroupNormArgs& args, Tensor& y);
void layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, float epsilon, Tensor& y);
void activation(const Tensor& x, ops::Activation kind, Tensor& y);
void geglu(const Tensor& x, Tensor& y);
void scaled_add(const Tensor& a, const Tensor& b, float scale, Tensor& y);
void masked_add(const Tensor& delta, const Tensor& mask, float scale, Tensor& y);

/// `count` values between f32, f16 and bf16, rounded to nearest even. False when a type is another
/// one.
bool convert(const std::byte* from, DType from_type, std::byte* to, DType to_type,
             std::int64_t count);

}  // namespace velatura::backend::cpu
