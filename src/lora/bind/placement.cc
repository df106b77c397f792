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

Tensor assemble(const Placement& placement, const Shape& shape,
                const std::function<Tensor(const Target&)>& piece_of) {
  if (placement.is_plain()) return piece_of(placement.pieces.front().target);
  Tensor whole = Tensor::allocate(shape, DType::f32);
  const std::size_t row = whole.byte_size() / static_cast<std::size_t>(shape[0]);
  for (const Piece& piece : placement.pieces) {
    const Tensor values = piece_of(piece.target);
    const auto* from = values.bytes();
    for (const RowRange& range : piece.rows) {
      const std::size_t bytes = static_cast<std::size_t>(range.count()) * row;
      std::memcpy(whole.mutable_bytes() + static_cast<std::size_t>(range.begin) * row, from, bytes);
      from += bytes;
    }
  }
  return whole;
}

Tensor pristine_weight(const Placement& placement, std::span<const Component> components) {
  return assemble(placement, placement.weight, [&](const Target& target) {
    return pristine_weight(components[static_cast<std::size_t>(target.component)], target.layer);
  });
}

Tensor pristine_bias(const Placement& placement, std::span<const Component> components) {
  return assemble(placement, Shape{placement.rows()}, [&](const Target& target) {
    return pristine_bias(components[static_cast<std::size_t>(target.component)], target.layer);
  });
}

}  // namespace velatura::lora
