// The four families with all their names and small extents, for fuzzers: every dialect has all it
// can spell, and no tensor of a model costs anything.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lora/dialects/dialect.h"
#include "lora/tools/check.h"
#include "models/families.h"
#include "tests/support/memory_source.h"

namespace velatura::fuzz {

struct SmallFamily {
  std::shared_ptr<const lora::tools::ModelNames> names;
  std::vector<std::string> spellings;  ///< of modules, in every dialect; sorted
};

/// Extents are whole multiples of this in every full-size list, but for those that become 1.
constexpr std::int64_t kShrink = 64;

inline weights::TensorInfo shrunk(const weights::TensorInfo& info) {
  std::vector<std::int64_t> extents(info.shape.extents().begin(), info.shape.extents().end());
  for (std::int64_t& extent : extents) {
    if (extent > 3) extent = (extent + kShrink - 1) / kShrink;  // kernels stay
  }
  return {info.name, Shape(extents), DType::f16};
}

/// Values that are neither all equal nor large.
inline Tensor pattern(const Shape& shape) {
  Tensor tensor = Tensor::allocate(shape, DType::f32);
  for (std::int64_t i = 0; i < tensor.count(); ++i)
    tensor.mutable_data<float>()[i] = static_cast<float>(i % 7 - 3) / 8;
  return tensor;
}

inline SmallFamily small_family(const models::FamilyRow& row) {
  auto names = std::make_shared<lora::tools::ModelNames>();
  names->family = row.id;
  names->title = row.title;
  SmallFamily family;
  const auto spell = [&](const lora::ModuleNames& module) {
    for (const lora::Dialect& dialect : lora::dialects()) {
      dialect.add_aliases(module, lora::Aliases([&](std::string alias, int, int) {
                            family.spellings.push_back(std::move(alias));
                          }));
    }
  };
  for (const models::PartShape& part : models::full_size(row.id).parts) {
    testing::MemorySource weights;
    std::vector<weights::TensorInfo> parameters;
    for (const weights::TensorInfo& info : part.parameters) {
      parameters.push_back(shrunk(info));
      weights.add(info.name, pattern(parameters.back().shape));
    }
    names->components.push_back(lora::component_of(
        part.component, part.part, parameters, models::native_names(part.part, parameters),
        std::make_shared<const testing::MemorySource>(std::move(weights))));
    const lora::Component& component = names->components.back();
    for (const lora::ModuleShape& module : component.modules)
      spell({.part = part.part, .canonical = module.path, .native = module.path, .slices = 1});
    std::map<std::string, int> slices;
    for (const weights::NameRow& name : component.native) ++slices[name.file];
    for (const auto& [file, count] : slices) {
      if (file.ends_with(".weight"))
        spell({.part = part.part,
               .canonical = {},
               .native = file.substr(0, file.size() - 7),
               .slices = count});
    }
  }
  std::ranges::sort(family.spellings);
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
