#include "nn/module_tree.h"

#include "base/error.h"

namespace velatura::nn {

LayerId ModuleTree::add(LayerInfo info) {
  const auto id = static_cast<LayerId>(layers_.size());
  const bool fresh = by_path_.emplace(info.path, id).second;
  VELATURA_CHECK(fresh);
  layers_.push_back(std::move(info));
  return id;
}

std::optional<LayerId> ModuleTree::find(std::string_view path) const {
  const auto found = by_path_.find(std::string(path));
  return found == by_path_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace velatura::nn
