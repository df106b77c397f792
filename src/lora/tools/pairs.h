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

/// Whether both scale alike, up to the rounding of an α that was cut and stored as f32.
bool same_scale(const Pair& a, const Pair& b);

/// Where the whole is block-structured, each piece having ranks of its own and zeros elsewhere:
/// these ranks, by piece; a piece of zeros alone may have any. Empty: the pieces share their ranks.
std::vector<RowRange> own_ranks(const Pair& whole, const Placement& placement);
/// The pieces' pairs of a pair on the whole, of own_ranks() or of all ranks where that is empty.
std::vector<Pair> split(const Pair& whole, const Placement& placement,
                        std::span<const RowRange> own);

/// Whether the pieces that are there have one `down` and one alpha.
bool share_down(std::span<const std::optional<Pair>> pieces);
/// One pair on the whole of the pieces' pairs; an absent piece contributes nothing. Pieces that
/// share `down` keep sharing it with `shares`, else their ranks stand one after the other. Where
/// scales differ they go into `up`.
Pair fuse(std::span<const std::optional<Pair>> pieces, const Placement& placement, bool shares);

/// The rows of `canonical`, one range after the other, at their places in `whole`, of its type and
/// with rows as wide.
void place_rows(const Tensor& canonical, std::span<const RowRange> ranges, Tensor& whole);

/// factor · values, in the type of `values`.
Tensor scaled_in_type(const Tensor& values, double factor);

/// The factors with α/r multiplied into them, by powers of two into `down` as far as that goes.
Pair folded(Pair pair);

}  // namespace velatura::lora::tools
