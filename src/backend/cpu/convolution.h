// What conv2d.cc and low_rank.cc share: a convolution's numbers from the tensors it works on.
#pragma once

#include "backend/cpu/dnnl/primitives.h"

namespace velatura::backend::cpu {

/// Without epilogue, bias and scales, which are the caller's to set. `y` is the output's shape.
ConvolutionSpec convolution_spec(const Tensor& x, const ops::Weight& weight,
                                 const ops::ConvGeometry& geometry, const Shape& y);

/// A 1×1 convolution that is a product of rows.
bool is_pointwise(const ConvolutionSpec& spec);

}  // namespace velatura::backend::cpu
