// LoRA pairs cut out of fused projections and joined into them, without changing a bit where that
// is possible (lora-formats §2.8).
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "lora/bind/placement.h"

namespace velatura::lora::tools {

/// (α / r) · up · down, in the types of the file.
struct Pair {
  Tensor down;                  ///< [r, columns] or [r, in, kh, kw]
  Tensor up;                    ///< [out, r] or [out, r, 1, 1]
  std::optional<double> alpha;  ///< absent: r
  std::int64_t rank() const { return down.size(0); }
  double scale() const { return alpha ? *alpha / static_cast<double>(rank()) : 1; }
};

/// The pieces' pairs of a pair on the whole. Where the whole is block-structured, each piece having
/// ranks of its own and zeros elsewhere, the pieces get their ranks alone.
std::vector<Pair> split(const Pair& whole, const Placement& placement);

/// One pair on the whole of the pieces' pairs; an absent piece contributes nothing. Pieces that
/// share `down` keep sharing it, else their ranks stand one after the other. Where scales differ
/// they go into `up`.
Pair fuse(std::span<const std::optional<Pair>> pieces, const Placement& placement);

/// The rows of `canonical`, one range after the other, at their places in a whole of `rows` rows;
/// zeros elsewhere.
Tensor scatter_rows(const Tensor& canonical, std::span<const RowRange> ranges, std::int64_t rows);

/// The factors with α/r multiplied into them, by powers of two into `down` as far as that goes.
Pair folded(Pair pair);

}  // namespace velatura::lora::tools
