#include "lora/tools/pairs.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "lora/algorithms/matrix.h"

namespace velatura::lora::tools {

namespace {

std::size_t row_bytes(const Tensor& matrix) {
  return matrix.byte_size() / static_cast<std::size_t>(std::max<std::int64_t>(matrix.size(0), 1));
}

/// up [rows, r] without its trailing unit axes.
Tensor flat_up(const Pair& pair) {
  return pair.up.reshaped({pair.up.size(0), pair.rank()});
}

/// up with the shape that its pair had: [rows, r] or [rows, r, 1, 1].
Tensor shaped_like(const Tensor& up, const Tensor& original) {
  if (original.rank() == 2) return up;
  std::vector<std::int64_t> extents(static_cast<std::size_t>(original.rank()), 1);
  extents[0] = up.size(0);
  extents[1] = up.size(1);
  return up.reshaped(Shape(extents));
}

std::vector<Tensor> cut_up(const Pair& whole, const Placement& placement) {
  const Tensor up = flat_up(whole);
  std::vector<Tensor> ups;
  for (const Piece& piece : placement.pieces) ups.push_back(gather_rows(up, piece.rows));
  return ups;
}

bool is_within(const RowRange& inner, const RowRange& outer) {
  return inner.count() == 0 || (inner.begin >= outer.begin && inner.end <= outer.end);
}

/// One n-th of the columns after the other for each of `owners` of the pieces; empty where they use
/// others.
std::vector<RowRange> equal_blocks(const std::vector<RowRange>& used, std::int64_t rank,
                                   const std::vector<bool>& owners) {
  const std::int64_t count = std::ranges::count(owners, true);
  if (count < 2 || rank % count != 0) return {};
  const std::int64_t own = rank / count;
  std::vector<RowRange> blocks;
  std::int64_t at = 0;
  for (std::size_t k = 0; k < used.size(); ++k) {
    blocks.push_back(owners[k] ? RowRange{at, at + own} : RowRange{0, own});
    if (!is_within(used[k], blocks.back())) return {};
    at += owners[k] ? own : 0;
  }
  return blocks;
}

/// The columns that each uses, where they stand one after the other and nothing is left.
std::vector<RowRange> exact_blocks(const std::vector<RowRange>& used, std::int64_t rank) {
  std::vector<RowRange> blocks;
  std::int64_t at = 0;
  for (const RowRange& range : used) {
    const bool is_idle = range.count() == 0;
    if (!is_idle && range.begin != at) return {};
    blocks.push_back(is_idle ? RowRange{0, 1} : range);
    at = is_idle ? at : range.end;
  }
  return at == rank ? blocks : std::vector<RowRange>();
}

bool same_tensor(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         std::memcmp(a.bytes(), b.bytes(), a.byte_size()) == 0;
}

/// In one type: theirs, else f32.
void unify(std::vector<Pair>& pairs) {
  const DType type = pairs.front().down.dtype();
  if (std::ranges::all_of(pairs, [&](const Pair& pair) {
        return pair.down.dtype() == type && pair.up.dtype() == type;
      }))
    return;
  for (Pair& pair : pairs) {
    pair.down = to_f32(pair.down);
    pair.up = to_f32(pair.up);
  }
}

}  // namespace

Tensor scaled_in_type(const Tensor& tensor, double factor) {
  Tensor values = to_f32(tensor).clone();
  for (float& value : values.mutable_floats())
    value = static_cast<float>(static_cast<double>(value) * factor);
  return from_f32(values, tensor.dtype());
}

void place_rows(const Tensor& canonical, std::span<const RowRange> ranges, Tensor& whole) {
  const std::size_t row = row_bytes(canonical);
  const std::byte* from = canonical.bytes();
  for (const RowRange& range : ranges) {
    const std::size_t bytes = static_cast<std::size_t>(range.count()) * row;
    std::memcpy(whole.mutable_bytes() + static_cast<std::size_t>(range.begin) * row, from, bytes);
    from += bytes;
  }
}

bool same_scale(const Pair& a, const Pair& b) {
  constexpr double kRounding = std::numeric_limits<float>::epsilon();
  return std::abs(a.scale() - b.scale()) <= kRounding * std::abs(a.scale());
}

std::vector<RowRange> own_ranks(const Pair& whole, const Placement& placement) {
  std::vector<RowRange> used;
  std::vector<bool> trained;
  for (const Tensor& up : cut_up(whole, placement)) {
    used.push_back(used_columns(up));
    trained.push_back(used.back().count() > 0);
  }
  // As trainers stack them; as those that were trained were joined; with ranks that differ.
  auto blocks = equal_blocks(used, whole.rank(), std::vector<bool>(used.size(), true));
  if (blocks.empty()) blocks = equal_blocks(used, whole.rank(), trained);
  return blocks.empty() ? exact_blocks(used, whole.rank()) : blocks;
}

std::vector<Pair> split(const Pair& whole, const Placement& placement,
                        std::span<const RowRange> own) {
  const std::vector<Tensor> ups = cut_up(whole, placement);
  std::vector<Pair> pieces;
  for (std::size_t k = 0; k < ups.size(); ++k) {
    Pair piece{.down = whole.down, .up = shaped_like(ups[k], whole.up), .alpha = whole.alpha};
    if (!own.empty()) {
      piece.down = whole.down.slice(own[k].begin, own[k].end);
      piece.up = shaped_like(take_columns(ups[k], own[k]), whole.up);
      if (piece.alpha)
        *piece.alpha /= static_cast<double>(whole.rank()) / static_cast<double>(own[k].count());
    }
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

bool share_down(std::span<const std::optional<Pair>> pieces) {
  const Pair* first = nullptr;
  for (const std::optional<Pair>& pair : pieces) {
    if (!pair) continue;
    if (first == nullptr) first = &*pair;
    if (pair->alpha != first->alpha || !same_tensor(pair->down, first->down)) return false;
  }
  return true;
}

Pair fuse(std::span<const std::optional<Pair>> pieces, const Placement& placement, bool shares) {
  VELATURA_CHECK(pieces.size() == placement.pieces.size());
  std::vector<Pair> present;
  std::vector<std::size_t> places;
  for (std::size_t k = 0; k < pieces.size(); ++k) {
    if (!pieces[k]) continue;
    present.push_back(*pieces[k]);
    places.push_back(k);
  }
  VELATURA_CHECK(!present.empty());
  unify(present);
  const Pair& first = present.front();
  const std::int64_t rows = placement.weight[0];
  const bool one_scale =
      std::ranges::all_of(present, [&](const Pair& pair) { return same_scale(first, pair); });
  const bool has_alpha =
      std::ranges::any_of(present, [](const Pair& pair) { return pair.alpha.has_value(); });

  std::int64_t rank = 0;
  for (const Pair& pair : present) rank += pair.rank();
  if (shares) rank = first.rank();
  Tensor up = Tensor::zeros({rows, rank}, first.up.dtype());
  Tensor down = shares ? first.down
                       : Tensor::allocate(with_rows(first.down.shape(), rank), first.down.dtype());
  const std::size_t element = size_of(up.dtype()), up_row = row_bytes(up);
  std::int64_t at = 0;
  for (std::size_t k = 0; k < present.size(); ++k) {
    const Pair& pair = present[k];
    const Tensor own = one_scale ? flat_up(pair) : scaled_in_type(flat_up(pair), pair.scale());
    Tensor placed = Tensor::zeros(with_rows(own.shape(), rows), own.dtype());
    place_rows(own, placement.pieces[places[k]].rows, placed);
    for (const RowRange& range : placement.pieces[places[k]].rows) {
      for (std::int64_t row = range.begin; row < range.end; ++row) {
        std::memcpy(up.mutable_bytes() + static_cast<std::size_t>(row) * up_row +
                        static_cast<std::size_t>(at) * element,
                    placed.bytes() + static_cast<std::size_t>(row) * row_bytes(placed),
                    row_bytes(placed));
      }
    }
    if (shares) continue;
    std::memcpy(down.mutable_bytes() + static_cast<std::size_t>(at) * row_bytes(down),
                pair.down.bytes(), pair.down.byte_size());
    at += pair.rank();
  }
  Pair whole{.down = std::move(down), .up = shaped_like(up, first.up), .alpha = first.alpha};
  if (!shares && has_alpha)
    whole.alpha = (one_scale ? first.scale() : 1.0) * static_cast<double>(rank);
  return whole;
}

Pair folded(Pair pair) {
  double down = pair.scale(), up = 1;
  pair.alpha.reset();
  if (down == 1) return pair;
  if (down == 0) {
    pair.up = scaled_in_type(pair.up, 0);
    return pair;
  }
  const double sign = down < 0 ? -1 : 1;
  down *= sign;
  while (2 * down < up) {
    down *= 2;
    up /= 2;
  }
  pair.down = scaled_in_type(pair.down, sign * down);
  pair.up = scaled_in_type(pair.up, up);
  return pair;
}

}  // namespace velatura::lora::tools
