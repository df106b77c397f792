// The stacks of adapters used together, kept for the next set with the same ones: switching between
// sets, and strengths that pass through 0, then cost nothing but pointers. Not here: how a stack is
// laid (layer_stack.h).
#pragma once

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "lora/apply/layer_stack.h"
#include "lora/bind/bind.h"

namespace velatura::lora {

/// Who acts on a component, in the fixed order. The adapters themselves are the identity: bound to
/// one model, immutable, kept alive by whoever holds the key.
struct StackKey {
  std::size_t component = 0;
  struct Member {
    std::shared_ptr<const BoundAdapter> adapter;
    std::int64_t ranks = 0;  ///< 0: all
    bool operator==(const Member&) const = default;
  };
  std::vector<Member> members;
  bool operator==(const StackKey&) const = default;
};

/// Parts of a stack with the member each comes from: strengths are looked up by it.
struct ComponentStacks {
  StackKey key;
  struct Layer {
    nn::LayerId id = 0;
    std::vector<std::size_t> members;  ///< of `stack->parts()`, as indices into key.members
    std::unique_ptr<const LayerStack> stack;
  };
  std::vector<Layer> layers;
  std::size_t bytes = 0;
};

/// Least recently used first out, beyond `most_bytes`; the newest stays, however large.
/// Thread-safe. What it handed out lives on while somebody uses it.
class StackCache {
 public:
  static constexpr std::size_t kMostBytes = std::size_t{1} << 30;
  explicit StackCache(std::size_t most_bytes = kMostBytes) : most_bytes_(most_bytes) {}
  std::shared_ptr<const ComponentStacks> get(StackKey key);
  /// Forgets everything: when the model that the adapters are bound to goes.
  void clear();

 private:
  std::mutex mutex_;
  std::size_t most_bytes_;
  std::list<std::shared_ptr<const ComponentStacks>> kept_;  ///< most recently used first
};

}  // namespace velatura::lora
