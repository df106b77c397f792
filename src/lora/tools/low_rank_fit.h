// The LoRA pair of a given rank that is nearest to a matrix in the Frobenius norm: its truncated
// singular value decomposition (Eckart–Young).
#pragma once

#include "tensor/tensor.h"

namespace velatura::lora::tools {

struct LowRankFit {
  Tensor down;  ///< f32 [rank, columns]: √S·Vᵀ
  Tensor up;    ///< f32 [rows, rank]: U·√S; balanced, which keeps 16-bit types from underflow
  double energy = 1;  ///< ‖up·down‖² / ‖matrix‖²
};

/// `matrix` f32 [rows, columns]; `rank` ≥ 1, cut at the smaller side. Small matrices are decomposed
/// whole; large ones through a random subspace with power iterations (Halko, Martinsson, Tropp
/// 2011, algorithms 4.4 and 5.1), the same for the same matrix.
LowRankFit fit_low_rank(const Tensor& matrix, std::int64_t rank);

}  // namespace velatura::lora::tools
