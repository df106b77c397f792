// One head's attention as kernels see it: pack keys and values once, then attend block after block
// of queries. The loops over batch and heads, memory and threads are attention.cc's.
//
// All kernels work on transposed scores: a vector register holds one key's scores for neighbouring
// queries. Maximum and sum over keys are then plain vector operations, every head width is used
// without padding to a register, and the softmax weights leave the exponential in the layout in
// which the product with the values reads them.
//
// The online softmax subtracts a reference rather than the running maximum: a power of two's
// exponent, raised only when a score exceeds it by kHeadroom. The weights are floats, so how large
// they are costs no precision; raising rescales by an exact power of two, and in the common case
// nothing is ever rescaled after the first keys.
#pragma once

#include <cstddef>
#include <cstdint>

namespace velatura::backend::cpu::kernels {

/// Lengths in elements. Rows of q, k, v and y lie `row_stride` apart; a head uses `width` of each.
struct AttentionProblem {
  std::int64_t queries, keys, width, row_stride;
  float scale;
  bool causal;
};

/// Scores in units of log2; sums of weights stay below 2^kHeadroom · keys, far from overflow.
inline constexpr float kHeadroom = 32.0f;

/// A set of functions for one element type. Pointers to packed and scratch memory are 64-byte
/// aligned. Thread-safe: nothing is kept between calls.
struct AttentionKernel {
  std::int64_t query_block;  ///< queries of one attend()
  std::int64_t key_block;    ///< keys of one pack()

  /// Bytes of a head's packed keys and values; a multiple of 64.
  std::size_t (*packed_bytes)(const AttentionProblem& problem);
  /// Bytes one thread needs in attend(); a multiple of 64.
  std::size_t (*scratch_bytes)(const AttentionProblem& problem);
  /// Packs block `block` of a head whose keys and values begin at k and v. Blocks are independent
  /// of each other.
  void (*pack)(const AttentionProblem& problem, const void* k, const void* v, std::int64_t block,
               std::byte* packed);
  /// Queries [first, first + rows) of a head, rows <= query_block, whose tensors begin at q and y.
  void (*attend)(const AttentionProblem& problem, const void* q, const std::byte* packed,
                 std::int64_t first, std::int64_t rows, std::byte* scratch, void* y);
};

/// bf16 through AVX-512's bf16 dot products; null where the CPU or the build lacks them.
const AttentionKernel* avx512_bf16_attention();

/// Any CPU, all arithmetic in f32, through Highway.
const AttentionKernel& f32_attention();
const AttentionKernel& converted_bf16_attention();  ///< bf16 in memory

}  // namespace velatura::backend::cpu::kernels
