// Updates by a Kronecker product's factors for a few rows at a time: two small products, what
// stands between them in the first-level cache. One call is one thread's part; nothing is
// allocated, and a row's sums do not depend on the rows beside it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/kronecker.h"

namespace velatura::backend::cpu::kernels {

/// y [rows][out_l, out_k] += scale · w1 · (x [rows][in_m, in_n] · w2ᵀ), row by row. In the float
/// kernel x and y are f32 or bf16 and all else is f32; in the bf16 kernel all three are bf16 with
/// f32 sums.
struct KroneckerProblem {
  ops::KroneckerShape shape;
  bool inner_first = true;   ///< the sum over w2 comes before that over w1
  const void* w1 = nullptr;  ///< [out_l, in_m]
  const void* w2 = nullptr;  ///< packed, below
  float scale = 0;
};

// In f32, columns are padded to 16: w2 packed is [in_n][out_k, padded], zeros in the padding.
inline constexpr std::int64_t kKroneckerFloatColumns = 16;
/// Bytes of scratch of one thread.
std::size_t kronecker_float_scratch(const ops::KroneckerShape& shape);
void kronecker_rows_f32(const KroneckerProblem& problem, const float* x, std::int64_t rows,
                        float* y, std::byte* scratch);
void kronecker_rows_bf16_values(const KroneckerProblem& problem, const std::uint16_t* x,
                                std::int64_t rows, std::uint16_t* y, std::byte* scratch);

// In bf16 (AVX-512), columns are padded to 8, half a vector: w2 packed is [in_n / 2][out_k,
// padded][2], zeros in the padding. in_m and in_n are even.
inline constexpr std::int64_t kKroneckerColumns = 8;
/// Which sum comes first: the way of fewer vector instructions.
bool kronecker_inner_first(const ops::KroneckerShape& shape);
/// Rows of one call whose intermediate values stay in the first-level cache.
std::int64_t kronecker_block_rows(const ops::KroneckerShape& shape);
/// Bytes of scratch of one thread for calls of at most kronecker_block_rows rows.
std::size_t kronecker_scratch(const ops::KroneckerShape& shape);
void kronecker_rows_bf16(const KroneckerProblem& problem, const std::uint16_t* x, std::int64_t rows,
                         std::uint16_t* y, std::byte* scratch);

}  // namespace velatura::backend::cpu::kernels
