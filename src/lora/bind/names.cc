#include "lora/bind/names.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/text.h"
#include "lora/bind/absent.h"
#include "lora/suffix.h"

namespace velatura::lora {

namespace {

constexpr std::string_view kWeightEnd = ".weight";
constexpr std::string_view kBiasEnd = ".bias";

std::string_view without(std::string_view text, std::string_view end) {
  return text.ends_with(end) ? text.substr(0, text.size() - end.size()) : text;
}

/// The module of a native weight; nullopt for a parameter that is called otherwise.
std::optional<std::string> native_module(const std::string& parameter) {
  // PyTorch's MultiheadAttention, in OpenCLIP, has a weight without a module of its own.
  constexpr std::string_view kFused = "in_proj_weight";
  if (parameter.ends_with(kFused)) return parameter.substr(0, parameter.size() - kWeightEnd.size());
  if (!parameter.ends_with(kWeightEnd)) return std::nullopt;
  return std::string(without(parameter, kWeightEnd));
}

/// Rows of the native parameter that make up one canonical module.
struct NativeShare {
  std::size_t module = 0;  ///< index in the component
  std::int64_t begin = 0, end = 0;
  bool halves_swapped = false;
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

/// `count` pieces of a fused module from `first` on, as a whole of their own.
Placement some(const Placement& whole, int first, int count) {
  Placement part = whole;
  part.pieces.assign(whole.pieces.begin() + first, whole.pieces.begin() + first + count);
  const std::int64_t begin = part.pieces.front().rows.front().begin;
  std::int64_t rows = 0;
  for (Piece& piece : part.pieces) {
    for (RowRange& range : piece.rows) {
      range.begin -= begin;
      range.end -= begin;
      rows += range.count();
    }
  }
  std::vector<std::int64_t> extents(part.weight.extents().begin(), part.weight.extents().end());
  extents[0] = rows;
  part.weight = Shape(extents);
  return part;
}

}  // namespace

NameIndex::NameIndex(std::span<const Component> components) {
  std::size_t modules = 0;
  for (const Component& component : components) modules += component.modules.size();
  constexpr std::size_t kSpellings = 16;  // about as many a module, so that the map seldom grows
  entries_.reserve(modules * kSpellings);
  int index = 0;
  for (const Component& component : components) add(component, index++);
}

void NameIndex::add(const Component& component, int index) {
  std::vector<std::shared_ptr<const Placement>> plains;
  std::unordered_map<std::string, std::size_t> by_weight;
  for (std::size_t module = 0; module < component.modules.size(); ++module) {
    plains.push_back(std::make_shared<const Placement>(plain(component, index, module)));
    by_weight.emplace(component.modules[module].weight_name(), module);
  }
  // Native parameter → the canonical modules in it. Biases follow their weights.
  std::map<std::string, std::vector<NativeShare>> natives;
  for (const weights::NameRow& row : component.native) {
    const auto found = by_weight.find(row.canonical);
    if (found == by_weight.end() || row.transposed) continue;
    const std::int64_t end = row.end != 0 ? row.end : plains[found->second]->rows();
    natives[row.file].push_back({.module = found->second,
                                 .begin = row.begin,
                                 .end = end,
                                 .halves_swapped = row.halves_swapped});
  }
  std::vector<std::string> native_of(component.modules.size());
  for (auto& [parameter, shares] : natives) {
    std::ranges::sort(shares, {}, &NativeShare::begin);
    const std::optional<std::string> native = native_module(parameter);
    if (!native) {
      // "….query_norm.scale": no module by its own name, but a parameter that a file may replace.
      add_parameter(component.part, parameter, plains[shares.front().module]);
    } else if (shares.size() == 1 && !shares.front().halves_swapped) {
      native_of[shares.front().module] = *native;
    } else {
      add_module({.part = component.part,
                  .canonical = {},
                  .native = *native,
                  .slices = static_cast<int>(shares.size())},
                 std::make_shared<const Placement>(fused(component, index, *native, shares)));
    }
  }
  for (std::size_t module = 0; module < component.modules.size(); ++module) {
    const std::string& path = component.modules[module].path;
    if (component.modules[module].kind == nn::LayerKind::parameter)
      add_parameter(component.part, path, plains[module]);
    add_module({.part = component.part,
                .canonical = path,
                .native = component.native.empty() ? path : native_of[module],
                .slices = 1},
               plains[module]);
  }
  add_places(component, plains);
  add_absent(component);
}

/// Dialects that give places in lists instead of names.
void NameIndex::add_places(const Component& component,
                           const std::vector<std::shared_ptr<const Placement>>& plain) {
  std::vector<std::string> paths;
  std::unordered_map<std::string, std::size_t> by_path;
  for (const ModuleShape& module : component.modules) {
    by_path.emplace(module.path, paths.size());
    paths.push_back(module.path);
  }
  for (const Dialect& dialect : dialects()) {
    if (dialect.add_places == nullptr) continue;
    dialect.add_places(component.part, paths, [&](std::string alias, const std::string& path) {
      insert(std::move(alias), {.placement = plain[by_path.at(path)], .dialect = dialect.name});
    });
  }
}

void NameIndex::add_absent(const Component& component) {
  for (const AbsentModule& module : absent_modules()) {
    const auto is_it = [&](const ModuleShape& shape) { return shape.path == module.canonical; };
    if (module.part != component.part || std::ranges::any_of(component.modules, is_it)) continue;
    const std::string_view path = module.canonical.empty() ? module.native : module.canonical;
    add_module(
        {.part = module.part,
         .canonical = std::string(module.canonical),
         .native = std::string(module.native),
         .slices = 1},
        std::make_shared<const Placement>(Placement{.path = std::string(path), .pieces = {}}),
        module.reason);
  }
}

/// Under every prefix that a dotted dialect puts before a part's own names.
void NameIndex::add_parameter(weights::Part part, const std::string& name,
                              std::shared_ptr<const Placement> placement) {
  ModuleNames names{.part = part, .canonical = {}, .native = name, .slices = 1};
  if (names.is_text_encoder()) names = {.part = part, .canonical = name, .native = {}, .slices = 1};
  parameters_.try_emplace(name, Parameter{{placement, "native"}, false});
  for (const Dialect& dialect : dialects()) {
    const Aliases aliases([&](std::string alias, int, int count) {
      if (count == 0 && alias.ends_with(name))
        parameters_.try_emplace(std::move(alias), Parameter{{placement, dialect.name}, false});
    });
    dialect.add_aliases(names, aliases);
  }
}

void NameIndex::add_module(const ModuleNames& names, std::shared_ptr<const Placement> placement,
                           std::string_view absent) {
  for (const Dialect& dialect : dialects()) {
    const Aliases aliases([&](std::string alias, int first, int count) {
      std::shared_ptr<const Placement> place =
          count == 0 ? placement
                     : std::make_shared<const Placement>(some(*placement, first, count));
      insert(std::move(alias),
             {.placement = std::move(place), .dialect = dialect.name, .absent = absent});
    });
    dialect.add_aliases(names, aliases);
  }
}

void NameIndex::insert(std::string alias, Entry entry) {
  const auto [at, fresh] = entries_.try_emplace(std::move(alias), std::move(entry));
  if (fresh) return;
  // Two modules may not share a spelling: a file could then not say which one it means.
  const auto& known = at->second.placement->pieces;
  const auto& again = entry.placement->pieces;
  VELATURA_CHECK(std::ranges::equal(known, again, {}, &Piece::target, &Piece::target));
}

const NameIndex::Entry* NameIndex::find(std::string_view module) const {
  auto found = entries_.find(module);
  if (found == entries_.end() && module.ends_with('_')) {
    found = entries_.find(module.substr(0, module.size() - 1));
  }
  return found == entries_.end() ? nullptr : &found->second;
}

std::optional<NameIndex::Parameter> NameIndex::find_parameter(std::string_view name) const {
  const std::string tensor = without_peft_parts(name);
  const auto own = parameters_.find(tensor);
  if (own != parameters_.end()) return own->second;
  const bool is_bias = tensor.ends_with(kBiasEnd);
  if (!is_bias && !tensor.ends_with(kWeightEnd)) return std::nullopt;
  const Entry* entry = find(without(tensor, is_bias ? kBiasEnd : kWeightEnd));
  if (entry == nullptr || !entry->absent.empty()) return std::nullopt;
  return Parameter{*entry, is_bias};
}

std::string NameIndex::nearest(std::string_view module) const {
  std::call_once(sorted_->once, [this] {
    sorted_->names.reserve(entries_.size());
    for (const auto& [name, entry] : entries_) sorted_->names.push_back(name);
    std::ranges::sort(sorted_->names);  // ties must not depend on hashing
  });
  const std::vector<std::string> near = nearest_names(module, sorted_->names, 1);
  return near.empty() ? std::string() : near.front();
}

}  // namespace velatura::lora
