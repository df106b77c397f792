#include "lora/tools/pairs.h"

#include <algorithm>
#include <cstring>

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

/// Whether piece k has columns [k·r/n, (k+1)·r/n) of `up` to itself, and zeros stand elsewhere.
bool is_block_structured(const std::vector<Tensor>& ups, std::int64_t rank) {
  const auto pieces = static_cast<std::int64_t>(ups.size());
  if (pieces < 2 || rank % pieces != 0) return false;
  const std::int64_t own = rank / pieces;
  for (std::int64_t k = 0; k < pieces; ++k) {
    const RowRange used = used_columns(ups[static_cast<std::size_t>(k)]);
    if (used.count() > 0 && (used.begin < k * own || used.end > (k + 1) * own)) return false;
  }
  return true;
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

Tensor scaled(const Tensor& tensor, double factor) {
  Tensor values = to_f32(tensor).clone();
  for (float& value : values.mutable_floats())
    value = static_cast<float>(static_cast<double>(value) * factor);
  return from_f32(values, tensor.dtype());
}

}  // namespace

Tensor scatter_rows(const Tensor& canonical, std::span<const RowRange> ranges, std::int64_t rows) {
  Tensor whole = Tensor::zeros(with_rows(canonical.shape(), rows), canonical.dtype());
  const std::size_t row = row_bytes(canonical);
  const std::byte* from = canonical.bytes();
  for (const RowRange& range : ranges) {
    const std::size_t bytes = static_cast<std::size_t>(range.count()) * row;
    std::memcpy(whole.mutable_bytes() + static_cast<std::size_t>(range.begin) * row, from, bytes);
    from += bytes;
  }
  return whole;
}

std::vector<Pair> split(const Pair& whole, const Placement& placement) {
  const Tensor up = flat_up(whole);
  std::vector<Tensor> ups;
  for (const Piece& piece : placement.pieces) ups.push_back(gather_rows(up, piece.rows));
  const std::int64_t rank = whole.rank();
  const bool own_ranks = is_block_structured(ups, rank);
  const std::int64_t own = own_ranks ? rank / static_cast<std::int64_t>(ups.size()) : rank;
  std::vector<Pair> pieces;
  for (std::size_t k = 0; k < ups.size(); ++k) {
    const std::int64_t first = own_ranks ? static_cast<std::int64_t>(k) * own : 0;
    Pair piece{.down = own_ranks ? whole.down.slice(first, first + own) : whole.down,
               .up = shaped_like(own_ranks ? take_columns(ups[k], {first, first + own}) : ups[k],
                                 whole.up),
               .alpha = whole.alpha};
    if (own_ranks && piece.alpha) *piece.alpha /= static_cast<double>(ups.size());
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

Pair fuse(std::span<const std::optional<Pair>> pieces, const Placement& placement) {
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
  const bool shares = std::ranges::all_of(present, [&](const Pair& pair) {
    return pair.alpha == first.alpha && same_tensor(pair.down, first.down);
  });
  const bool one_scale =
      std::ranges::all_of(present, [&](const Pair& pair) { return pair.scale() == first.scale(); });
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
    const Tensor own = one_scale ? flat_up(pair) : scaled(flat_up(pair), pair.scale());
    const Tensor placed = scatter_rows(own, placement.pieces[places[k]].rows, rows);
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
    pair.up = scaled(pair.up, 0);
    return pair;
  }
  const double sign = down < 0 ? -1 : 1;
  down *= sign;
  while (2 * down < up) {
    down *= 2;
    up /= 2;
  }
  pair.down = scaled(pair.down, sign * down);
  pair.up = scaled(pair.up, up);
  return pair;
}

}  // namespace velatura::lora::tools
