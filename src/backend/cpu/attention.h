// Attention of the cpu backend. Contract of shapes and meaning: ops/attention.h.
#pragma once

#include "ops/attention.h"
#include "tensor/tensor.h"

namespace velatura::backend::cpu {

/// y = softmax(scale · q·kᵀ)·v per head; q and y [N, Lq, heads·d], k and v [N, Lk, heads·d], all
/// f32 or all bf16, y allocated by the caller, args.scale not 0. Scores, softmax and sums are f32.
/// Parallel over batch, heads and blocks of queries; each block is computed by one thread in one
/// order, so the bits do not depend on the number of threads.
void cpu_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                   const ops::AttentionArgs& args, Tensor& y);

namespace kernels {
struct AttentionKernel;
}
/// The same with a given kernel: for tests that compare kernels on one machine.
void attend_with(const kernels::AttentionKernel& kernel, const Tensor& q, const Tensor& k,
                 const Tensor& v, const ops::AttentionArgs& args, Tensor& y);

}  // namespace velatura::backend::cpu
