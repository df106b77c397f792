// Room for the weights and changes that sets of adapters keep. Not here: what is kept
// (dense_change.h), who shares it (stack_cache.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

namespace velatura::lora {

/// Of all sets of one job: pictures with sets of their own share it. Rooms are given in the order
/// in which they are asked for and never taken back. One thread at a time.
class StandInBudget {
 public:
  static constexpr std::size_t kMostBytes = std::size_t{2} << 30;
  explicit StandInBudget(std::size_t most_bytes = kMostBytes) : left_(most_bytes) {}

  /// What two sets keep in common takes room once: `key` says all that it is made of, by addresses
  /// that stay taken as long as the budget is in use; empty for what nobody shares.
  bool take(const std::vector<std::uint64_t>& key, std::size_t bytes) {
    if (!key.empty() && given_.contains(key)) return true;
    if (bytes > left_) return false;
    left_ -= bytes;
    if (!key.empty() && bytes > 0) given_.insert(key);
    return true;
  }

 private:
  std::size_t left_;
  std::set<std::vector<std::uint64_t>> given_;
};

}  // namespace velatura::lora
