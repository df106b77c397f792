// What sets of adapters have laid and made, kept for the next set with the same adapters: switching
// between sets, and strengths that pass through 0, then cost nothing but pointers. Not here: how a
// stack is laid (layer_stack.h), how a weight is made (dense_change.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "lora/apply/layer_stack.h"

namespace velatura::lora {

/// A weight made of a layer's own and its adapters' changes, or of the changes alone.
struct MadeWeight {
  std::shared_ptr<const ops::Weight> weight;
  double change = 0;  ///< ‖ΔW‖²
  double error = 0;   ///< ‖(stored W' − W) − ΔW‖²
  /// What the key's addresses point to: alive as long as the entry, so that no other delta can get
  /// an address.
  std::vector<std::shared_ptr<const ModuleDelta>> of;
  std::size_t bytes() const { return weight->original().byte_size(); }
};

/// Of one model. Least recently used first out, beyond `most_bytes`; the newest stays, however
/// large. Thread-safe. What it handed out lives on while somebody uses it.
class StackCache {
 public:
  static constexpr std::size_t kMostBytes = std::size_t{1} << 30;
  explicit StackCache(std::size_t most_bytes = kMostBytes) : most_bytes_(most_bytes) {}

  /// The stack of these parts, in this order. An adapter alone on its layer has its own weights and
  /// takes no room.
  std::shared_ptr<const LayerStack> stack(std::vector<StackPart> parts);

  /// Words that say all a weight depends on: addresses of deltas, ranks, strengths, type.
  using WeightKey = std::vector<std::uint64_t>;
  /// The weight under `key`, made where it is not there. Two who ask at once may both make it.
  std::shared_ptr<const MadeWeight> weight(const WeightKey& key,
                                           const std::function<MadeWeight()>& make);
  /// Forgets everything: when the model that the adapters are bound to goes.
  void clear();

 private:
  struct Hash {
    std::size_t operator()(const WeightKey& key) const;
  };
  struct Entry {
    WeightKey key;
    std::shared_ptr<const void> value;
    std::size_t bytes = 0;
  };
  std::shared_ptr<const void> find(const WeightKey& key);
  std::shared_ptr<const void> keep(Entry entry);

  std::mutex mutex_;
  std::size_t most_bytes_;
  std::size_t bytes_ = 0;
  std::list<Entry> kept_;  ///< most recently used first
  std::unordered_map<WeightKey, std::list<Entry>::iterator, Hash> index_;
};

}  // namespace velatura::lora
