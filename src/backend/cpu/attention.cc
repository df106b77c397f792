#include "backend/cpu/attention.h"

#include <omp.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "backend/cpu/kernels/attention.h"

namespace velatura::backend::cpu {
namespace {

using kernels::AttentionKernel;
using kernels::AttentionProblem;

std::int64_t blocks_of(std::int64_t count, std::int64_t block) {
  return (count + block - 1) / block;
}

const AttentionKernel& kernel_for(DType type) {
  if (type == DType::f32) return kernels::f32_attention();
  const AttentionKernel* dot_products = kernels::avx512_bf16_attention();
  return dot_products ? *dot_products : kernels::converted_bf16_attention();
}

/// Below this many multiplications waking other threads (a few microseconds) takes longer than the
/// work.
constexpr std::int64_t kWorthAThread = 1 << 18;

/// Of the smallest core this is meant for; only an order of work depends on it.
constexpr std::size_t kSecondLevelCache = 1 << 20;

int threads_for(std::int64_t jobs, std::int64_t multiplications) {
  const std::int64_t wanted = std::min(jobs, multiplications / kWorthAThread);
  return static_cast<int>(std::clamp<std::int64_t>(wanted, 1, std::max(omp_get_max_threads(), 1)));
}

}  // namespace

void attend_with(const AttentionKernel& kernel, const Tensor& q, const Tensor& k, const Tensor& v,
                 const ops::AttentionArgs& args, Tensor& y) {
  const std::int64_t heads = q.size(0) * args.heads;  // of the whole batch
  const AttentionProblem problem{.queries = q.size(1),
                                 .keys = k.size(1),
                                 .width = q.size(2) / args.heads,
                                 .row_stride = q.size(2),
                                 .scale = args.scale,
                                 .causal = args.causal};
  const std::int64_t key_blocks = blocks_of(problem.keys, kernel.key_block);
  const std::int64_t query_blocks = blocks_of(problem.queries, kernel.query_block);
  const std::size_t packed_bytes = kernel.packed_bytes(problem);
  const std::size_t scratch_bytes = kernel.scratch_bytes(problem);
  const int threads =
      threads_for(heads * query_blocks, heads * problem.queries * problem.keys * problem.width);

  Tensor memory = Tensor::allocate({static_cast<std::int64_t>(packed_bytes) * heads +
                                    static_cast<std::int64_t>(scratch_bytes) * threads},
                                   DType::u8);
  std::byte* packed = memory.mutable_bytes();
  std::byte* scratch = packed + packed_bytes * static_cast<std::size_t>(heads);
  const std::size_t element = size_of(q.dtype());
  const std::byte* q_data = q.bytes();
  const std::byte* k_data = k.bytes();
  const std::byte* v_data = v.bytes();
  std::byte* y_data = y.mutable_bytes();
  // Where head `head` of the batch begins in a tensor of `rows` rows.
  const auto offset = [&](std::int64_t head, std::int64_t rows) {
    return static_cast<std::size_t>(head / args.heads * rows * problem.row_stride +
                                    head % args.heads * problem.width) *
           element;
  };

  // Heads lie side by side in a row, so neighbouring heads share cache lines: packing takes them
  // one after another. So do queries, unless the keys and values of all heads would then have to
  // come from memory again and again.
  const bool heads_inside =
      packed_bytes * static_cast<std::size_t>(args.heads) <= kSecondLevelCache / 2;
  const std::int64_t inner = heads_inside ? args.heads : query_blocks;
  const std::int64_t outer = heads_inside ? query_blocks : args.heads;

#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static)
    for (std::int64_t job = 0; job < heads * key_blocks; ++job) {
      const std::int64_t head = job / (key_blocks * args.heads) * args.heads + job % args.heads;
      const std::size_t at = offset(head, problem.keys);
      kernel.pack(problem, k_data + at, v_data + at, job / args.heads % key_blocks,
                  packed + packed_bytes * static_cast<std::size_t>(head));
    }
#pragma omp for schedule(dynamic)
    for (std::int64_t job = 0; job < heads * query_blocks; ++job) {
      const std::int64_t in = job % inner, out = job / inner % outer;
      const std::int64_t head = job / (inner * outer) * args.heads + (heads_inside ? in : out);
      const std::int64_t first = (heads_inside ? out : in) * kernel.query_block;
      const std::size_t at = offset(head, problem.queries);
      kernel.attend(problem, q_data + at, packed + packed_bytes * static_cast<std::size_t>(head),
                    first, std::min(kernel.query_block, problem.queries - first),
                    scratch + scratch_bytes * static_cast<std::size_t>(omp_get_thread_num()),
                    y_data + at);
    }
  }
}

void cpu_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                   const ops::AttentionArgs& args, Tensor& y) {
  attend_with(kernel_for(q.dtype()), q, k, v, args, y);
}

}  // namespace velatura::backend::cpu
