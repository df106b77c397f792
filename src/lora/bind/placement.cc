#include "lora/bind/placement.h"

#include <cstring>

#include "base/error.h"

namespace velatura::lora {

bool Placement::is_plain() const {
  return pieces.size() == 1 && pieces.front().rows.size() == 1;
}

Tensor gather_rows(const Tensor& whole, std::span<const RowRange> rows) {
  std::vector<std::int64_t> extents(whole.shape().extents().begin(), whole.shape().extents().end());
  VELATURA_CHECK(!extents.empty());
  extents[0] = 0;
  for (const RowRange& range : rows) {
    VELATURA_CHECK(range.begin >= 0 && range.begin <= range.end && range.end <= whole.size(0));
    extents[0] += range.count();
  }
  Tensor gathered = Tensor::allocate(Shape(extents), whole.dtype());
  const std::size_t row =
      whole.size(0) == 0 ? 0 : whole.byte_size() / static_cast<std::size_t>(whole.size(0));
  std::byte* to = reinterpret_cast<std::byte*>(gathered.mutable_bytes());
  for (const RowRange& range : rows) {
    const std::size_t bytes = static_cast<std::size_t>(range.count()) * row;
    std::memcpy(to, whole.bytes() + static_cast<std::size_t>(range.begin) * row, bytes);
    to += bytes;
  }
  return gathered;
}

Tensor pristine_weight(const Placement& placement, std::span<const Component> components) {
  const auto of_piece = [&](const Piece& piece) {
    return pristine_weight(components[static_cast<std::size_t>(piece.target.component)],
                           piece.target.layer);
  };
  if (placement.is_plain()) return of_piece(placement.pieces.front());
  Tensor whole = Tensor::allocate(placement.weight, DType::f32);
  const std::size_t row = whole.byte_size() / static_cast<std::size_t>(placement.weight[0]);
  for (const Piece& piece : placement.pieces) {
    const Tensor values = of_piece(piece);
    const auto* from = values.bytes();
    for (const RowRange& range : piece.rows) {
      const std::size_t bytes = static_cast<std::size_t>(range.count()) * row;
      std::memcpy(whole.mutable_bytes() + static_cast<std::size_t>(range.begin) * row, from, bytes);
      from += bytes;
    }
  }
  return whole;
}

}  // namespace velatura::lora
