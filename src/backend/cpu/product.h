// Matrix products with a weight: the choice of primitive, and the products on packed panels.
#pragma once

#include "backend/cpu/dnnl/primitives.h"
#include "ops/low_rank.h"

namespace velatura::backend::cpu {

/// By the primitive that the table names. `arguments.weight` is filled in here.
void product(const ProductSpec& spec, const ops::Weight& weight, ProductArguments arguments);

/// By kernels/product.h; `arguments.weight` stays unused. For shapes that primitive_of() gives to
/// panels_bf16.
void run_panels(const ProductSpec& spec, const ops::Weight& weight,
                const ProductArguments& arguments);

/// By kernels/product.h with live adapters: in one pass over y where the ranks are few beside the
/// rows, else with the adapters merged into a transient copy of the weight
/// (docs/design/002-cpu-primitives.md has the measurement). False where the shapes do not fit this;
/// nothing was done then. `rows_of_picture`: rows that belong to one picture, so that the choice
/// does not depend on how many are computed together.
bool run_panels_low_rank(const ProductSpec& spec, const ops::Weight& weight,
                         const ops::LowRank& low_rank, const ProductArguments& arguments,
                         std::int64_t rows_of_picture);

}  // namespace velatura::backend::cpu
