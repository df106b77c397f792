// The cpu backend: oneDNN and products of our own for matrix products and convolutions, Highway for
// everything between, tiled attention. Which primitive a shape takes stands in primitive_table.cc.
#pragma once

#include <memory>

#include "ops/op_table.h"

namespace velatura::backend::cpu {

struct CpuOptions {
  int threads = 0;  ///< OpenMP threads of every op; 0 means as many as OpenMP chooses
};

/// Sums and statistics are f32 or wider, results are rounded once. bf16 needs a CPU with AVX-512
/// (emulated where it lacks the dot product); elsewhere bf16 products are an `unsupported` error
/// and f32 is the compute type. Same inputs, same number of threads and same kind of CPU give the
/// same bits. Thread-safe.
std::unique_ptr<ops::OpTable> make_cpu_backend(const CpuOptions& options = {});

/// What `doctor` reports and what decides the default compute type.
struct CpuFeatures {
  bool avx512 = false;       ///< F, BW, DQ, VL
  bool avx512_bf16 = false;  ///< vdpbf16ps: bf16 is the faster compute type
};
CpuFeatures cpu_features();

}  // namespace velatura::backend::cpu
