// What varies between two uses of one const model: memory and device (through the ops context), the
// adapters, and the wish to stop. Two runs with different adapters share a model and never wait for
// each other.
#pragma once

#include <functional>
#include <span>
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
  /// Where the pictures of one batch have adapters of their own: ascending ranges that cover every
  /// row of axis 0 without gap; `patches` is then not asked. Each layer computes its base product
  /// once for all rows, and each picture's deltas on its rows. A picture that stands in the batch
  /// twice (guidance) has two ranges with the same patches.
  std::span<const PicturePatches> pictures{};
};

}  // namespace velatura::nn
