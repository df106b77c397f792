// Where one module of an adapter file stands on a model: one layer, or the rows of a fused
// projection spread over several (lora-formats §2.4, §2.6, §2.8). Not here: how it is found
// (names.h).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "lora/bind/component.h"

namespace velatura::lora {

/// Rows [begin, end) of the weight that the file's module speaks of, "the whole".
struct RowRange {
  std::int64_t begin = 0, end = 0;
  std::int64_t count() const { return end - begin; }
  bool operator==(const RowRange&) const = default;
};

/// One layer and the rows of the whole that are its rows, in its own order. One range but for
/// swapped halves, which are two.
struct Piece {
  Target target;
  std::vector<RowRange> rows;
};

/// Pieces cover the whole without gap or overlap. A plain module is one piece with one range.
struct Placement {
  std::string path;  ///< canonical path, or the native one of a fused module
  std::vector<Piece> pieces;
  nn::LayerKind kind = nn::LayerKind::linear;
  Shape weight;  ///< of the whole
  bool has_bias = false;

  bool is_plain() const;
  /// Of the whole; 1 for a single number.
  std::int64_t rows() const { return weight.rank() == 0 ? 1 : weight[0]; }
};

/// The untouched weight of the whole, f32, its rows in the file's order.
Tensor pristine_weight(const Placement& placement, std::span<const Component> components);
/// The untouched bias of the whole, f32 [out], likewise; has_bias.
Tensor pristine_bias(const Placement& placement, std::span<const Component> components);
/// The whole of what `piece_of` gives for each piece, f32: shaped `shape`, or as the piece where
/// there is one plain one.
Tensor assemble(const Placement& placement, const Shape& shape,
                const std::function<Tensor(const Target&)>& piece_of);

/// `rows` of a tensor, one range after the other, as a new tensor of the same type.
Tensor gather_rows(const Tensor& whole, std::span<const RowRange> rows);

}  // namespace velatura::lora
