// Matrices that algorithms build changes from: factors brought to rows and columns, their cuts, and
// checks that more than one kind makes. Not here: reading and checking values (algorithm.h).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "lora/algorithms/algorithm.h"

namespace velatura::lora {

/// The outermost extent of a tensor that has `columns` > 0 elements a row; nullopt for another
/// shape or no row at all. Axes behind the first may be folded in any way: converters drop or add a
/// kernel's.
std::optional<std::int64_t> rows_of(const Tensor& matrix, std::int64_t columns);
/// Elements of a row; 0 for a tensor without axes or elements.
std::int64_t columns_of(const Tensor& matrix);
/// Axes behind the first folded. The tensor has elements.
Tensor flattened(const Tensor& matrix);

/// `weight` with another number of rows.
Shape with_rows(const Shape& weight, std::int64_t rows);

struct Kernel {
  std::int64_t height, width;
};
/// Of a convolution's weight; 1 × 1 for a linear layer's.
Kernel kernel_of(const Shape& weight);

/// [m, n] → [n, m], of any type.
Tensor transposed(const Tensor& matrix);
/// Columns [begin, end) of every row.
Tensor take_columns(const Tensor& matrix, RowRange columns);
/// From the first to the last column that holds anything but zeros; empty where none does. Rows of
/// one layer of a fused projection use some ranks alone where layers were joined, each with ranks
/// of its own (lora-formats §2.8).
RowRange used_columns(const Tensor& matrix);
/// gather_rows(), sharing the storage where the rows are one range.
Tensor take_rows(const Tensor& whole, std::span<const RowRange> rows);
/// factor · values as f32, in new memory.
Tensor scaled(const Tensor& values, float factor);

/// A Tucker core times the factor of its second axis: core [p, q, kh, kw], down [q, in], both f32 →
/// [p, in · kh · kw] with Σ_q core[p,q,y,x] · down[q,i].
Tensor through_core(const Tensor& core, const Tensor& down);
/// The largest p of a core that through_core() is asked for: more ranks than the weight has rows
/// and columns add nothing, and what they make is bounded by no file's size.
std::int64_t most_core_ranks(const ModuleInput& input);

/// The remark of a module with values for a bias that its layer lacks.
inline constexpr std::string_view kNoBias = "the layer has no bias: what is for it is ignored";

/// Throws mismatch where `kind` is on a layer that is neither linear nor a convolution, or one
/// without elements.
void require_product_layer(const ModuleInput& input, std::string_view kind);
/// The tensor's values, which are integers of any type: at most `most` of them, else bad_file.
std::vector<std::int64_t> read_integers(const ModuleInput& input, Role role, std::int64_t most);
/// A tensor of the module's weight as the layer has it: its rows and columns must be the layer's,
/// its axes may be folded otherwise (lora-formats §1.2). Throws mismatch.
Tensor read_shaped_as_weight(const ModuleInput& input, Role role);
/// A tensor with one value a row of the layer, f32 [out]. Throws mismatch.
Tensor read_shaped_as_bias(const ModuleInput& input, Role role);

}  // namespace velatura::lora
