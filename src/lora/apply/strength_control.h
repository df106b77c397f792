// Strengths that are changed while a run goes on: a mailbox between the one who moves the slider
// and the set that reads it between two steps. Not here: what a strength does (adapter_set.h).
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace velatura::lora {

/// New strengths of one adapter; absent ones stay.
struct StrengthChange {
  std::optional<float> denoiser{}, text{}, te2{}, t5{};
};

/// Thread-safe; shared by whoever posts and by any number of sets, each of which sees every change.
class StrengthControl {
 public:
  /// `adapter`: a file's stem or content hash; it means all uses of that adapter. Takes effect at
  /// the set's next advance(). A name that no use has changes nothing. Throws invalid_argument for
  /// a number that is not finite.
  void post(const std::string& adapter, const StrengthChange& change);

  /// For sets: all that was posted after `seen` (0: ever), latest values alone, in the order of
  /// posting; `seen` moves on.
  struct Posted {
    std::string adapter;
    StrengthChange change;
  };
  std::vector<Posted> since(std::uint64_t& seen) const;

 private:
  struct Latest {
    std::uint64_t number = 0;
    StrengthChange change;
  };
  mutable std::mutex mutex_;
  std::uint64_t posted_ = 0;
  std::map<std::string, Latest> latest_;
};

}  // namespace velatura::lora
