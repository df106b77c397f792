// Blocks of rotations, the arithmetic that OFT, BOFT and OFT v2 share (lora-formats §1.10). Always
// R − I instead of R: the change of a weight is then as exact as the rotation is small. Not here:
// how files store rotations (oft.cc, oft_v2.cc).
#pragma once

#include <cstdint>
#include <span>

#include "tensor/tensor.h"

namespace velatura::lora {

/// (I + Q)(I − Q)⁻¹ − I of a skew-symmetric `q` [b, b], in place. Such an I − Q is never singular:
/// the eigenvalues of Q are imaginary.
void cayley_minus_identity(std::span<double> q, std::int64_t b);

/// The order in which BOFT takes rows: a row index read as (c, g, q) with g of 2 and q of `half` is
/// rearranged to (c, q, g). half 0: as they stand.
struct RowOrder {
  std::int64_t half = 0;
  /// The row that stands at `position`.
  std::int64_t row(std::int64_t position) const {
    if (half == 0) return position;
    const std::int64_t within = position % (2 * half);
    return position - within + (within % 2) * half + within / 2;
  }
};

/// change += strength · D · (weight + change), where D is block-diagonal over rows taken in
/// `order`: `blocks` [n, b, b], n · b rows. Weight and change: f32, `columns` elements a row.
void add_rotated_rows(const Tensor& blocks, RowOrder order, float strength,
                      std::span<const float> weight, std::span<float> change, std::int64_t columns);

/// change = strength · weight · D, where D is block-diagonal over columns: `blocks` [n, b, b], used
/// again and again where n · b is less than the columns.
void set_rotated_columns(const Tensor& blocks, float strength, std::span<const float> weight,
                         std::span<float> change, std::int64_t columns);

}  // namespace velatura::lora
