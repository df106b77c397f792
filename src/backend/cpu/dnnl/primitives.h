// Matrix products and convolutions by oneDNN, the only place that knows its API (2.x and 3.x).
// Primitives are made once for each specification and kept. Not here: which primitive a layer
// takes, conversion of weights.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "ops/activation.h"
#include "ops/conv2d.h"
#include "ops/linear.h"

namespace velatura::backend::cpu {

/// y [rows, out] = activation(x [rows, in] · wᵀ + bias) ∘ column_scales + residual, w [out, in] as
/// files have it.
struct ProductSpec {
  DType type = DType::f32;  ///< of x, w, y and residual
  std::int64_t rows = 0, in = 0, out = 0;
  ops::Activation activation = ops::Activation::none;
  bool bias = false;           ///< f32 [out]
  bool column_scales = false;  ///< f32 [out]
  bool residual = false;       ///< [rows, out]
  bool accumulate = false;     ///< adds to what y holds
  bool operator==(const ProductSpec&) const = default;
};

struct ProductArguments {
  const void* x = nullptr;
  const void* weight = nullptr;
  const float* bias = nullptr;
  const float* column_scales = nullptr;
  const void* residual = nullptr;
  void* y = nullptr;
};

/// Throws unsupported where this CPU or library has no such product.
void run_product(const ProductSpec& spec, const ProductArguments& arguments);

/// y [N, H', W', out] = activation(x [N, H, W, in] * w [out, in, kh, kw] + bias) ∘ column_scales +
/// residual.
struct ConvolutionSpec {
  DType type = DType::f32;
  std::int64_t batch = 0, height = 0, width = 0, in = 0;
  std::int64_t out_height = 0, out_width = 0, out = 0;
  std::int64_t kernel_height = 0, kernel_width = 0;
  int stride = 1, pad_top = 0, pad_left = 0, pad_bottom = 0, pad_right = 0;
  ops::Activation activation = ops::Activation::none;
  bool bias = false, column_scales = false, residual = false;
  bool operator==(const ConvolutionSpec&) const = default;
};

/// `weight` is kept in the primitive's own layout as a form of the Weight; `arguments.weight` stays
/// unused.
void run_convolution(const ConvolutionSpec& spec, const ops::Weight& weight,
                     const ProductArguments& arguments);

}  // namespace velatura::backend::cpu
