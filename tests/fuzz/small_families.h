// The four families, shallow and narrow, for fuzzers: every kind of block and every dialect's
// spelling of it is there, and a tensor of a model costs nothing.
#pragma once

#include <algorithm>
#include <charconv>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lora/dialects/dialect.h"
#include "lora/tools/check.h"
#include "models/families.h"
#include "tests/support/memory_source.h"

namespace velatura::fuzz {

struct SmallFamily {
  std::shared_ptr<const lora::tools::ModelNames> names;
  /// Of modules, by the dialect's number, then all of them together; sorted.
  std::vector<std::vector<std::string>> spellings;
};

/// Extents are whole multiples of this in every full-size list, but for those that become 1.
constexpr std::int64_t kShrink = 64;

inline Shape shrunk(const Shape& shape) {
  std::vector<std::int64_t> extents(shape.extents().begin(), shape.extents().end());
  for (std::int64_t& extent : extents) {
    if (extent > 3) extent = (extent + kShrink - 1) / kShrink;  // kernels stay
  }
  return Shape(extents);
}

/// The parameter's name in the shallow model, where it is kept: the first two of every list of
/// equal layers; of a UNet's levels the first and the last, with the fewest layers.
inline std::optional<std::string> shallow_name(std::string name, int last_level) {
  const auto number_behind = [&](std::string_view list) -> std::optional<int> {
    const std::size_t at = name.find(list);
    if (at == name.npos || (at > 0 && name[at - 1] != '.' && name[at - 1] != '_')) return {};
    int number = 0;
    const char* begin = name.data() + at + list.size();
    const auto [end, error] = std::from_chars(begin, name.data() + name.size(), number);
    return error == std::errc() ? std::optional(number) : std::nullopt;
  };
  for (const char* list :
       {"transformer_blocks.", "layers.", "block.", "noise_refiner.", "context_refiner."}) {
    if (number_behind(list).value_or(0) > 1) return std::nullopt;
  }
  for (const std::string path : {"down_blocks.", "up_blocks."}) {
    const std::optional<int> level = number_behind(path);
    if (!level) continue;
    if (*level != 0 && *level != last_level) return std::nullopt;
    const int most = path == "up_blocks." ? 1 : 0;  // the way up has one layer more
    for (const char* list : {"resnets.", "attentions."}) {
      if (number_behind(list).value_or(0) > most) return std::nullopt;
    }
    if (*level != 0) name.replace(path.size(), std::to_string(*level).size(), "1");
  }
  return name;
}

/// Values that are neither all equal nor large.
inline Tensor pattern(const Shape& shape) {
  Tensor tensor = Tensor::allocate(shape, DType::f32);
  for (std::int64_t i = 0; i < tensor.count(); ++i)
    tensor.mutable_data<float>()[i] = static_cast<float>(i % 7 - 3) / 8;
  return tensor;
}

/// All that the dialects can say of the component.
inline void spell(const lora::Component& component, SmallFamily& family) {
  const std::span<const lora::Dialect> dialects = lora::dialects();
  const auto spell_module = [&](const lora::ModuleNames& module) {
    for (std::size_t i = 0; i < dialects.size(); ++i) {
      dialects[i].add_aliases(module, lora::Aliases([&](std::string alias, int, int) {
                                family.spellings[i].push_back(std::move(alias));
                              }));
    }
  };
  std::vector<std::string> paths;
  for (const lora::ModuleShape& module : component.modules) {
    paths.push_back(module.path);
    spell_module(
        {.part = component.part, .canonical = module.path, .native = module.path, .slices = 1});
  }
  std::map<std::string, int> slices;
  for (const weights::NameRow& name : component.native) ++slices[name.file];
  constexpr std::string_view kEnd = ".weight";
  for (const auto& [file, count] : slices) {
    if (file.ends_with(kEnd))
      spell_module({.part = component.part,
                    .canonical = {},
                    .native = file.substr(0, file.size() - kEnd.size()),
                    .slices = count});
  }
  for (std::size_t i = 0; i < dialects.size(); ++i) {
    if (dialects[i].add_places == nullptr) continue;
    dialects[i].add_places(component.part, paths, [&](std::string alias, const std::string&) {
      family.spellings[i].push_back(std::move(alias));
    });
  }
}

inline SmallFamily small_family(const models::FamilyRow& row) {
  auto names = std::make_shared<lora::tools::ModelNames>();
  names->family = row.id;
  names->title = row.title;
  SmallFamily family;
  family.spellings.resize(lora::dialects().size());
  for (const models::PartShape& part : models::full_size(row.id).parts) {
    testing::MemorySource weights;
    std::vector<weights::TensorInfo> parameters;
    const int last_level = row.id == "sdxl" ? 2 : 3;
    for (const weights::TensorInfo& info : part.parameters) {
      const std::optional<std::string> name = shallow_name(info.name, last_level);
      if (!name) continue;
      parameters.push_back({*name, shrunk(info.shape), DType::f16});
      weights.add(*name, pattern(parameters.back().shape));
    }
    names->components.push_back(lora::component_of(
        part.component, part.part, parameters, models::native_names(part.part, parameters),
        std::make_shared<const testing::MemorySource>(std::move(weights))));
    spell(names->components.back(), family);
  }
  std::vector<std::string> all;
  for (std::vector<std::string>& dialect : family.spellings) {
    std::ranges::sort(dialect);
    all.insert(all.end(), dialect.begin(), dialect.end());
  }
  std::ranges::sort(all);
  family.spellings.push_back(std::move(all));
  names->index = std::make_shared<const lora::NameIndex>(names->components);
  family.names = std::move(names);
  return family;
}

inline const std::vector<SmallFamily>& small_families() {
  static const std::vector<SmallFamily> kFamilies = [] {
    std::vector<SmallFamily> all;
    for (const models::FamilyRow& row : models::families()) all.push_back(small_family(row));
    return all;
  }();
  return kFamilies;
}

}  // namespace velatura::fuzz
