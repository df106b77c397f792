// What a module is constructed from: a place in the weights, and the tree that its layers join.
#pragma once

#include <string>
#include <string_view>

#include "nn/module_tree.h"
#include "weights/scope.h"

namespace velatura::nn {

/// Cheap to copy. `child("down_blocks").child(0)` reads weights named "….down_blocks.0.…".
struct Scope {
  weights::Scope weights;
  ModuleTree* tree = nullptr;  ///< never null while constructing

  Scope child(std::string_view name) const { return {weights.child(name), tree}; }
  Scope child(std::int64_t index) const { return child(std::to_string(index)); }
};

}  // namespace velatura::nn
