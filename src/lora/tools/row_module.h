// Modules whose tensors are rows of outputs or shared by all of them: cut out of fused projections,
// joined into them and turned where halves are swapped, exactly (lora-formats §2.4, §2.8). LoRA and
// LoHa, their biases and magnitudes over outputs, differences, replacements. Not here: kinds that
// are not closed under it (LoKr, GLoRA, OFT), which move as they are or become dense.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "lora/tools/modules.h"
#include "lora/tools/pairs.h"

namespace velatura::lora::tools {

struct RowModule {
  /// One of a LoRA; two of a LoHa, whose products are multiplied element by element. The first has
  /// the module's alpha, the second none.
  std::vector<Pair> factors;
  std::map<Role, Tensor> rows;  ///< with one row an output
};

/// The roles that say what the module does to the weight: modules that are joined have the same, or
/// one of them none (a bias alone). nullopt: the module is not made of rows.
std::optional<std::set<Role>> row_kind(const ModuleView& module);
/// Whether rows that no module speaks of cannot be filled in: zeros are no magnitude.
bool needs_every_row(const std::set<Role>& kind);

/// Whether it changes nothing, as rows of zeros do that stand for a layer that was not trained.
bool is_idle(const RowModule& module);

/// By the placement's pieces. Where every factor is block-structured, the pieces get their ranks
/// alone.
std::vector<RowModule> split(const RowModule& whole, const Placement& placement);
/// Of one kind; an absent piece contributes nothing. Shared factors stay shared, else ranks stand
/// on a block diagonal.
RowModule fuse(std::span<const std::optional<RowModule>> pieces, const Placement& placement);
/// Both at once, on the same rows.
void add(RowModule& sum, RowModule module);
/// Without alpha: α/r goes into the first factor and what it scales besides.
RowModule folded(RowModule module);

}  // namespace velatura::lora::tools
