#include "lora/tools/row_module.h"

#include <algorithm>

#include "base/error.h"
#include "lora/algorithms/matrix.h"

namespace velatura::lora::tools {

namespace {

bool is_zero(const Tensor& values) {
  const bool is_plain =
      values.dtype() == DType::f32 || values.dtype() == DType::f16 || values.dtype() == DType::bf16;
  return is_all_zero(is_plain ? values : to_f32(values));
}

bool has_every_row(Role role) {
  return role == Role::dora_scale || role == Role::set_weight || role == Role::set_bias;
}

/// Whether the factors that are there are those of one kind, all of them.
bool has_whole_factors(const ModuleView& module) {
  const auto count = [&](std::initializer_list<Role> roles) {
    return std::ranges::count_if(roles, [&](Role role) { return module.has(role); });
  };
  const auto pair = count({Role::down, Role::up}),
             turned = count({Role::down_transposed, Role::up_transposed}),
             hadamard = count({Role::hada_w1_a, Role::hada_w1_b, Role::hada_w2_a, Role::hada_w2_b});
  return pair % 2 == 0 && turned % 2 == 0 && hadamard % 4 == 0 &&
         (pair > 0) + (turned > 0) + (hadamard > 0) < 2;
}

/// The pieces' rows of one role, zeros where a piece has none.
Tensor join_rows(std::span<const std::optional<RowModule>> pieces, const Placement& placement,
                 Role role, const std::vector<double>& factors) {
  std::vector<std::pair<const Piece*, Tensor>> parts;
  for (std::size_t k = 0; k < pieces.size(); ++k) {
    if (!pieces[k] || !pieces[k]->rows.contains(role)) continue;
    const Tensor& own = pieces[k]->rows.at(role);
    parts.emplace_back(&placement.pieces[k], role == Role::up_bias && factors[k] != 1
                                                 ? scaled_in_type(own, factors[k])
                                                 : own);
  }
  const Tensor& first = parts.front().second;
  const bool one_type = std::ranges::all_of(
      parts, [&](const auto& part) { return part.second.dtype() == first.dtype(); });
  const DType type = one_type ? first.dtype() : DType::f32;
  Tensor whole = Tensor::zeros(with_rows(first.shape(), placement.rows()), type);
  for (const auto& [piece, own] : parts) {
    const Tensor typed =
        (one_type ? own : to_f32(own)).reshaped(with_rows(first.shape(), own.size(0)));
    place_rows(typed, piece->rows, whole);
  }
  return whole;
}

}  // namespace

std::optional<std::set<Role>> row_kind(const ModuleView& module) {
  if (!has_whole_factors(module)) return std::nullopt;
  std::set<Role> kind;
  for (const auto& [role, tensor] : module.tensors) {
    switch (role) {
      case Role::alpha:
      case Role::scale:
      case Role::scalar:
      case Role::up_bias:
      case Role::diff_b:
      case Role::norm_b:
        break;
      case Role::down:
      case Role::down_transposed:
      case Role::up:
      case Role::up_transposed:
        kind.insert(Role::up);
        break;
      case Role::hada_w1_a:
      case Role::hada_w1_b:
      case Role::hada_w2_a:
      case Role::hada_w2_b:
      case Role::diff:
      case Role::norm_w:
      case Role::set_weight:
      case Role::set_bias:
        kind.insert(role);
        break;
      case Role::dora_scale:
      case Role::magnitude_vector:
        if (!module.has_output_axis) return std::nullopt;
        kind.insert(Role::dora_scale);
        break;
      default:
        return std::nullopt;
    }
  }
  return kind;
}

bool needs_every_row(const std::set<Role>& kind) {
  return std::ranges::any_of(kind, has_every_row);
}

bool is_idle(const RowModule& module) {
  const bool keeps_weight =
      module.factors.empty() ||
      std::ranges::any_of(module.factors, [](const Pair& pair) { return is_zero(pair.up); });
  return keeps_weight && std::ranges::all_of(module.rows, [](const auto& row) {
           return !has_every_row(row.first) && is_zero(row.second);
         });
}

std::vector<RowModule> split(const RowModule& whole, const Placement& placement) {
  std::vector<std::vector<RowRange>> own;
  for (const Pair& factor : whole.factors) own.push_back(own_ranks(factor, placement));
  // Both products of a LoHa, or none: they are joined alike.
  if (std::ranges::any_of(own, &std::vector<RowRange>::empty)) own.assign(own.size(), {});
  std::vector<RowModule> pieces(placement.pieces.size());
  for (std::size_t f = 0; f < own.size(); ++f) {
    std::vector<Pair> cut = split(whole.factors[f], placement, own[f]);
    for (std::size_t k = 0; k < pieces.size(); ++k) pieces[k].factors.push_back(std::move(cut[k]));
  }
  for (const auto& [role, tensor] : whole.rows) {
    for (std::size_t k = 0; k < pieces.size(); ++k)
      pieces[k].rows.emplace(role, gather_rows(tensor, placement.pieces[k].rows));
  }
  return pieces;
}

RowModule fuse(std::span<const std::optional<RowModule>> pieces, const Placement& placement) {
  VELATURA_CHECK(pieces.size() == placement.pieces.size());
  std::size_t count = 0;
  std::set<Role> roles;
  for (const std::optional<RowModule>& piece : pieces) {
    if (!piece) continue;
    count = std::max(count, piece->factors.size());
    for (const auto& [role, tensor] : piece->rows) roles.insert(role);
  }
  std::vector<std::vector<std::optional<Pair>>> factors(
      count, std::vector<std::optional<Pair>>(pieces.size()));
  std::vector<double> scales(pieces.size(), 1);
  const Pair* first = nullptr;
  bool one_scale = true;
  for (std::size_t k = 0; k < pieces.size(); ++k) {
    if (!pieces[k] || pieces[k]->factors.empty()) continue;
    VELATURA_CHECK(pieces[k]->factors.size() == count);
    for (std::size_t f = 0; f < count; ++f) factors[f][k] = pieces[k]->factors[f];
    const Pair& own = pieces[k]->factors.front();
    if (first == nullptr) first = &own;
    one_scale = one_scale && same_scale(*first, own);
    scales[k] = own.scale();
  }
  const bool shares =
      std::ranges::all_of(factors, [](const auto& pairs) { return share_down(pairs); });
  RowModule whole;
  for (const auto& pairs : factors) whole.factors.push_back(fuse(pairs, placement, shares));
  // Where scales differ, each went into its up matrix; what it scaled besides takes it as well.
  if (one_scale) scales.assign(pieces.size(), 1);
  for (const Role role : roles)
    whole.rows.emplace(role, join_rows(pieces, placement, role, scales));
  return whole;
}

void add(RowModule& sum, RowModule module) {
  if (sum.factors.empty()) sum.factors = std::move(module.factors);
  for (auto& [role, tensor] : module.rows) {
    const auto [at, fresh] = sum.rows.emplace(role, tensor);
    if (fresh) continue;
    Tensor total = to_f32(at->second).clone();
    const Tensor added = to_f32(tensor);
    for (std::int64_t i = 0; i < total.count(); ++i)
      total.mutable_data<float>()[i] += added.data<float>()[i];
    at->second = total;
  }
}

RowModule folded(RowModule module) {
  if (module.factors.empty()) return module;
  Pair& first = module.factors.front();
  const double scale = first.scale();
  first = folded(std::move(first));
  const auto bias = module.rows.find(Role::up_bias);
  if (bias != module.rows.end() && scale != 1) bias->second = scaled_in_type(bias->second, scale);
  return module;
}

}  // namespace velatura::lora::tools
