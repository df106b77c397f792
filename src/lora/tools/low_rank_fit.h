// The LoRA pair of a given rank that is nearest to a change in the Frobenius norm: its truncated
// singular value decomposition (Eckart–Young). Not here: what becomes of the pair (convert.h).
#pragma once

#include <vector>

#include "lora/bind/bind.h"
#include "lora/tools/watch.h"

namespace velatura::lora::tools {

struct LowRankFit {
  Tensor down;  ///< f32 [rank, columns]: √S·Vᵀ
  Tensor up;    ///< f32 [rows, rank]: U·√S; balanced, which keeps 16-bit types from underflow
  double energy = 1;  ///< ‖up·down‖² / ‖matrix‖²
};

/// Of `matrix` f32 [rows, columns]; `rank` ≥ 1, cut at the smaller side. Small matrices are
/// decomposed whole; large ones through a random subspace with power iterations (Halko, Martinsson,
/// Tropp 2011, algorithms 4.4 and 5.1): exact where the matrix has that rank, else the error is
/// within a few per mille of the least one wherever the spectrum decays. The same bits for the same
/// matrix, whatever the number of threads. Throws cancelled.
LowRankFit fit_low_rank(const Tensor& matrix, std::int64_t rank, const StopToken& stop = {});

/// Of the change at strength 1, rows by all else. Through its factors where it has some: the
/// decomposition of a Kronecker product is that of its two factors, that of a pair needs two QR
/// decompositions; the change itself is made for all other kinds alone. The rank is cut at what
/// the factors can have. Both matrices are undefined where the weight stays.
LowRankFit fit_low_rank(const ModuleDelta& delta, const Pristine& base, std::int64_t rank,
                        const StopToken& stop = {});

/// Of many modules, in their order: those with factors side by side, the others one after the other
/// with all threads, so that one whole change is in memory at a time. Throws cancelled.
std::vector<LowRankFit> fit_low_rank(std::span<const BoundModule* const> modules,
                                     std::span<const Component> components, std::int64_t rank,
                                     const Watch& watch = {});

}  // namespace velatura::lora::tools
