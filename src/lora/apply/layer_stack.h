// All adapters of one layer as one thin pair: their ranks concatenated. Not here: strengths, which
// belong to a set (adapter_set.h), and what keeps stacks for the next set (stack_cache.h).
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "lora/algorithms/algorithm.h"

namespace velatura::lora {

/// One adapter's share of a layer.
struct StackPart {
  std::shared_ptr<const ModuleDelta> delta;  ///< with a thin form
  std::int64_t ranks = 0;                    ///< how many of its ranks are used
};

/// Immutable but for the pair, which is laid when it is first asked for: a set that is switched to
/// costs nothing for layers that do not run. Thread-safe.
class LayerStack {
 public:
  explicit LayerStack(std::vector<StackPart> parts);
  const std::vector<StackPart>& parts() const { return parts_; }
  std::int64_t rank() const { return rank_; }
  /// [rank, in] or [rank, in, kh, kw]: the parts' first ranks, one part after the other. The
  /// adapter's own weight, and so its prepared forms, where one part stands alone with all ranks.
  const ops::Weight& down() const { return *pair().down; }
  const ops::Weight& up() const { return *pair().up; }  ///< [out, rank]
  /// What the pair takes beside the adapters' own tensors, a backend's form of it included.
  std::size_t bytes() const;
  /// Whether one part with all its ranks is all there is.
  bool stands_alone() const;

 private:
  struct Pair {
    std::shared_ptr<const ops::Weight> down, up;
  };
  const Pair& pair() const;
  Pair lay() const;

  std::vector<StackPart> parts_;
  std::int64_t rank_ = 0;
  mutable std::once_flag laid_;
  mutable Pair pair_;
};

}  // namespace velatura::lora
