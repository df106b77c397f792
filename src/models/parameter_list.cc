#include "models/parameter_list.h"

namespace velatura::models {

ParameterList::ParameterList(std::span<const weights::TensorInfo> parameters) {
  for (const weights::TensorInfo& info : parameters) index_.emplace(info.name, &info);
}

const weights::TensorInfo* ParameterList::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : found->second;
}

bool ParameterList::has_prefix(std::string_view prefix) const {
  const auto next = index_.lower_bound(prefix);
  return next != index_.end() && next->first.starts_with(prefix);
}

int ParameterList::count(std::string_view prefix) const {
  int n = 0;
  while (has_prefix(std::string(prefix) + std::to_string(n) + ".")) ++n;
  return n;
}

void ParameterList::add(weights::NameMap& rows, const std::string& canonical,
                        const std::string& file) const {
  if (has(canonical)) rows.push_back({.canonical = canonical, .file = file});
}

void ParameterList::add_fused(weights::NameMap& rows, std::span<const std::string> names,
                              std::string_view ending, const std::string& file) const {
  constexpr std::int64_t kMostRows = 1 << 30;  // far beyond any layer; sums of them stay exact
  weights::NameMap fused;
  std::int64_t begin = 0;
  for (const std::string& name : names) {
    const weights::TensorInfo* info = find(name + std::string(ending));
    if (info == nullptr || info->shape.rank() == 0) return;
    if (info->shape[0] < 1 || info->shape[0] > kMostRows) return;
    const std::int64_t end = begin + info->shape[0];
    fused.push_back({.canonical = info->name, .file = file, .begin = begin, .end = end});
    begin = end;
  }
  rows.insert(rows.end(), fused.begin(), fused.end());
}

weights::NameMap ParameterList::known(weights::NameMap rows) const {
  std::erase_if(rows, [&](const weights::NameRow& row) { return !has(row.canonical); });
  return rows;
}

}  // namespace velatura::models
