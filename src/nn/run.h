// What varies between two uses of one const model: memory and device (through the ops context), the
// adapters, and the wish to stop. Two runs with different adapters share a model and never wait for
// each other.
#pragma once

#include <functional>
#include <string_view>

#include "base/stop_token.h"
#include "nn/delta.h"
#include "ops/context.h"

namespace velatura::nn {

struct Run {
  ops::Context& ops;
  const LayerPatches* patches = nullptr;  ///< of the model being run; null: none
  StopToken stop{};
  /// Called with a module's canonical path and its output where a test or a tool asks for inner
  /// values; may be empty.
  std::function<void(std::string_view path, const Tensor& output)> tap{};

  const LayerPatch* patch(LayerId id) const { return patches ? patches->find(id) : nullptr; }
};

}  // namespace velatura::nn
