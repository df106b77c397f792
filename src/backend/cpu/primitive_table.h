// Which primitive a shape takes on which kind of CPU: a table written from measurements
// (docs/design/002-cpu-primitives.md), never a clock at run time, so that a seed repeats its
// picture byte for byte.
#pragma once

#include "backend/cpu/cpu.h"
#include "backend/cpu/dnnl/primitives.h"

namespace velatura::backend::cpu {

enum class ConvolutionPrimitive {
  direct,         ///< oneDNN, channels-last
  winograd_bf16,  ///< kernels/winograd.h, F(2×2, 3×3)
};
ConvolutionPrimitive primitive_of(const CpuFeatures& cpu, const ConvolutionSpec& spec);

enum class ProductPrimitive {
  library,      ///< oneDNN on the file's [out, in]
  panels_bf16,  ///< kernels/product.h on packed panels
};
ProductPrimitive primitive_of(const CpuFeatures& cpu, const ProductSpec& spec);

/// True where live adapters of `rank` are merged into a transient copy of the weight instead of
/// being computed beside it.
bool merges_low_rank(const ProductSpec& spec, std::int64_t rank, std::int64_t rows_of_picture);

/// Tiles of one block of a Winograd convolution.
std::int64_t winograd_block(const ConvolutionSpec& spec);

}  // namespace velatura::backend::cpu
