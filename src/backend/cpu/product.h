// Matrix products with a weight: the choice of primitive, and the products on packed panels.
#pragma once

#include "backend/cpu/dnnl/primitives.h"

namespace velatura::backend::cpu {

/// By the primitive that the table names. `arguments.weight` is filled in here.
void product(const ProductSpec& spec, const ops::Weight& weight, ProductArguments arguments);

/// By kernels/product.h; `arguments.weight` stays unused. For shapes that primitive_of() gives to
/// panels_bf16.
void run_panels(const ProductSpec& spec, const ops::Weight& weight,
                const ProductArguments& arguments);

}  // namespace velatura::backend::cpu
