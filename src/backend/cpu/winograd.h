// A whole 3×3 convolution by kernels/winograd.h: packed weights as a form of the Weight, work split
// between threads.
#pragma once

#include "backend/cpu/dnnl/primitives.h"

namespace velatura::backend::cpu {

/// For shapes that primitive_of() gives to winograd_bf16. `arguments.weight` stays unused.
void run_winograd(const ConvolutionSpec& spec, const ops::Weight& weight,
                  const ProductArguments& arguments);

}  // namespace velatura::backend::cpu
