// The bf16 loops of normalisation and gating whose arithmetic, not memory, sets the pace, for CPUs
// with AVX-512 bf16. One call is one thread's part.
#pragma once

#include <cstdint>

namespace velatura::backend::cpu::kernels {

/// y = x · scale[c] + shift[c], then SiLU where asked; x and y bf16 [rows, width].
void affine_rows_bf16(const std::uint16_t* x, const float* scale, const float* shift, bool silu,
                      std::int64_t rows, std::int64_t width, std::uint16_t* y);

/// y [rows, width] = value · gelu(gate), x bf16 [rows, 2·width] = [value | gate].
void gate_rows_bf16(const std::uint16_t* x, std::int64_t rows, std::int64_t width,
                    std::uint16_t* y);

}  // namespace velatura::backend::cpu::kernels
