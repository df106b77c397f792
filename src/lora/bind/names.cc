#include "lora/bind/names.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/text.h"

namespace velatura::lora {

namespace {

constexpr std::string_view kWeightEnd = ".weight";
constexpr std::string_view kBiasEnd = ".bias";

std::string_view without(std::string_view text, std::string_view end) {
  return text.ends_with(end) ? text.substr(0, text.size() - end.size()) : text;
}

/// Rows of the native parameter that make up one canonical module.
struct NativeShare {
  std::size_t module = 0;  ///< index in the component
  std::int64_t begin = 0, end = 0;
  bool halves_swapped = false;
  bool is_weight = true;  ///< called ".weight" in both namings
};

std::vector<RowRange> ranges_of(const NativeShare& share, std::int64_t begin) {
  const std::int64_t end = begin + (share.end - share.begin);
  if (!share.halves_swapped) return {{begin, end}};
  const std::int64_t middle = begin + (end - begin) / 2;
  return {{middle, end}, {begin, middle}};
}

Placement plain(const Component& component, int index, std::size_t module) {
  const ModuleShape& shape = component.modules[module];
  const std::int64_t rows = shape.weight.rank() == 0 ? 1 : shape.weight[0];
  return {.path = shape.path,
          .pieces = {{.target = {.component = index, .layer = static_cast<nn::LayerId>(module)},
                      .rows = {{0, rows}}}},
          .kind = shape.kind,
          .weight = shape.weight,
          .has_bias = shape.has_bias};
}

/// The native module made of `shares`, in their order of rows; rows are counted from its first.
Placement fused(const Component& component, int index, const std::string& native,
                std::span<const NativeShare> shares) {
  Placement placement = plain(component, index, shares.front().module);
  placement.path = native;
  placement.pieces.clear();
  std::int64_t rows = 0;
  for (const NativeShare& share : shares) {
    placement.pieces.push_back(
        {.target = {.component = index, .layer = static_cast<nn::LayerId>(share.module)},
         .rows = ranges_of(share, rows)});
    rows += share.end - share.begin;
    placement.has_bias = placement.has_bias && component.modules[share.module].has_bias;
  }
  std::vector<std::int64_t> extents(placement.weight.extents().begin(),
                                    placement.weight.extents().end());
  extents[0] = rows;
  placement.weight = Shape(extents);
  return placement;
}

}  // namespace

NameIndex::NameIndex(std::span<const Component> components) {
  int index = 0;
  for (const Component& component : components) add(component, index++);
}

void NameIndex::add(const Component& component, int index) {
  std::map<std::string, std::size_t, std::less<>> by_weight;
  for (std::size_t module = 0; module < component.modules.size(); ++module)
    by_weight.emplace(component.modules[module].weight_name(), module);
  // Native parameter → the canonical modules in it. Biases follow their weights.
  std::map<std::string, std::vector<NativeShare>> natives;
  for (const weights::NameRow& row : component.native) {
    const auto found = by_weight.find(row.canonical);
    if (found == by_weight.end() || row.transposed) continue;
    const Shape& shape = component.modules[found->second].weight;
    const std::int64_t end =
        row.end != 0 ? row.end : (shape.rank() == 0 ? std::int64_t{1} : shape[0]);
    natives[row.file].push_back({.module = found->second,
                                 .begin = row.begin,
                                 .end = end,
                                 .halves_swapped = row.halves_swapped,
                                 .is_weight = row.file.ends_with(kWeightEnd)});
  }
  std::vector<std::string> native_of(component.modules.size());
  for (auto& [parameter, shares] : natives) {
    std::ranges::sort(shares, {}, &NativeShare::begin);
    const std::string native(without(parameter, kWeightEnd));
    const bool is_whole = shares.size() == 1 && !shares.front().halves_swapped;
    if (!shares.front().is_weight) {
      // "….query_norm.scale": no module by its own name, but a parameter that a file may replace.
      auto placement = std::make_shared<Placement>(plain(component, index, shares.front().module));
      parameters_.emplace(parameter, Parameter{{std::move(placement), "native"}, false});
    } else if (is_whole) {
      native_of[shares.front().module] = native;
    } else {
      add_module({.part = component.part,
                  .canonical = {},
                  .native = native,
                  .slices = static_cast<int>(shares.size())},
                 std::make_shared<Placement>(fused(component, index, native, shares)));
    }
  }
  for (std::size_t module = 0; module < component.modules.size(); ++module) {
    const std::string& path = component.modules[module].path;
    auto placement = std::make_shared<Placement>(plain(component, index, module));
    if (component.modules[module].kind == nn::LayerKind::parameter)
      parameters_.emplace(path, Parameter{{placement, "native"}, false});
    add_module({.part = component.part,
                .canonical = path,
                .native = component.native.empty() ? path : native_of[module],
                .slices = 1},
               std::move(placement));
  }
}

void NameIndex::add_module(const ModuleNames& names, std::shared_ptr<const Placement> placement) {
  for (const Dialect& dialect : dialects()) {
    const Aliases aliases([&](std::string alias, int first, int count) {
      if (count == 0) return insert(std::move(alias), {placement, dialect.name});
      auto some = std::make_shared<Placement>(*placement);
      some->pieces.assign(placement->pieces.begin() + first,
                          placement->pieces.begin() + first + count);
      const std::int64_t begin = some->pieces.front().rows.front().begin;
      std::int64_t rows = 0;
      for (Piece& piece : some->pieces) {
        for (RowRange& range : piece.rows) {
          range.begin -= begin;
          range.end -= begin;
          rows += range.count();
        }
      }
      std::vector<std::int64_t> extents(some->weight.extents().begin(),
                                        some->weight.extents().end());
      extents[0] = rows;
      some->weight = Shape(extents);
      insert(std::move(alias), {std::move(some), dialect.name});
    });
    dialect.add_aliases(names, aliases);
  }
}

void NameIndex::insert(std::string alias, Entry entry) {
  const auto [at, fresh] = entries_.emplace(std::move(alias), entry);
  if (fresh) return;
  // Two modules may not share a spelling: a file could then not say which one it means.
  const auto& known = at->second.placement->pieces;
  const auto& again = entry.placement->pieces;
  VELATURA_CHECK(std::ranges::equal(known, again, {}, &Piece::target, &Piece::target));
}

const NameIndex::Entry* NameIndex::find(std::string_view module) const {
  auto found = entries_.find(std::string(module));
  if (found == entries_.end() && module.ends_with('_')) {
    found = entries_.find(std::string(module.substr(0, module.size() - 1)));
  }
  return found == entries_.end() ? nullptr : &found->second;
}

std::optional<NameIndex::Parameter> NameIndex::find_parameter(std::string_view tensor) const {
  const auto own = parameters_.find(std::string(tensor));
  if (own != parameters_.end()) return own->second;
  const bool is_bias = tensor.ends_with(kBiasEnd);
  if (!is_bias && !tensor.ends_with(kWeightEnd)) return std::nullopt;
  const Entry* entry = find(without(tensor, is_bias ? kBiasEnd : kWeightEnd));
  if (entry == nullptr || (is_bias && !entry->placement->has_bias)) return std::nullopt;
  return Parameter{*entry, is_bias};
}

std::string NameIndex::nearest(std::string_view module) const {
  std::vector<std::string> known;
  known.reserve(entries_.size());
  for (const auto& [name, entry] : entries_) known.push_back(name);
  std::ranges::sort(known);  // ties must not depend on hashing
  const std::vector<std::string> near = nearest_names(module, known, 1);
  return near.empty() ? std::string() : near.front();
}

}  // namespace velatura::lora
