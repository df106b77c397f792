// A module together with the tree of its layers: what a loaded model is. Const once constructed,
// shared between jobs.
#pragma once

#include <utility>

#include "nn/module_tree.h"
#include "nn/scope.h"

namespace velatura::nn {

/// `Module` is constructed from (config, nn::Scope). Held as std::shared_ptr<const Model<Module>>.
template <typename Module>
class Model {
 public:
  template <typename Config>
  Model(const Config& config, weights::Scope weights)
      : module_(config, Scope{std::move(weights), &tree_}) {}
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const ModuleTree& tree() const { return tree_; }
  const Module& operator*() const { return module_; }
  const Module* operator->() const { return &module_; }

 private:
  ModuleTree tree_;  // before the module, whose layers join it
  Module module_;
};

}  // namespace velatura::nn
