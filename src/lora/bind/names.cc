#include "lora/bind/names.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace velatura::lora {

namespace {

constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kNativePrefix = "model.diffusion_model.";

/// canonical module path → native module path, from the rows of whole weights.
std::unordered_map<std::string, std::string> native_paths(const weights::NameMap& rows) {
  std::unordered_map<std::string, std::string> paths;
  for (const weights::NameRow& row : rows) {
    if (!row.canonical.ends_with(kWeight) || !row.file.ends_with(kWeight) || row.end != 0) continue;
    std::string native = row.file.substr(0, row.file.size() - kWeight.size());
    if (native.starts_with(kNativePrefix)) native.erase(0, kNativePrefix.size());
    paths.emplace(row.canonical.substr(0, row.canonical.size() - kWeight.size()),
                  std::move(native));
  }
  return paths;
}

}  // namespace

NameIndex::NameIndex(std::span<const Component> components) {
  for (std::size_t component = 0; component < components.size(); ++component) {
    const auto native = native_paths(components[component].native);
    const std::span<const nn::LayerInfo> layers = components[component].tree->layers();
    for (std::size_t layer = 0; layer < layers.size(); ++layer) {
      const auto found = native.find(layers[layer].path);
      add({.kind = components[component].kind,
           .canonical = layers[layer].path,
           .native = found == native.end() ? layers[layer].path : found->second},
          {.component = static_cast<int>(component), .layer = static_cast<nn::LayerId>(layer)});
    }
  }
}

void NameIndex::add(const ModuleNames& names, Target target) {
  for (const Dialect& dialect : dialects()) {
    dialect.add_aliases(names, [&](std::string alias) {
      const auto [at, fresh] = entries_.emplace(std::move(alias), Entry{target, dialect.name});
      // Two modules may not share a spelling: a file could then not say which one it means.
      VELATURA_CHECK(fresh || (at->second.target.component == target.component &&
                               at->second.target.layer == target.layer));
    });
  }
}

const NameIndex::Entry* NameIndex::find(std::string_view module) const {
  auto found = entries_.find(std::string(module));
  if (found == entries_.end() && module.ends_with('_')) {
    found = entries_.find(std::string(module.substr(0, module.size() - 1)));
  }
  return found == entries_.end() ? nullptr : &found->second;
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
