// Being told by the system that something in a folder changed. Not here: what changed, and folders
// that the system does not watch (network drives): who asks must also look from time to time.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <stop_token>
#include <vector>

namespace velatura::platform {

/// Not thread-safe. Watches are a scarce thing of the whole system: at most `most` are taken.
class FolderWatch {
 public:
  explicit FolderWatch(std::size_t most);
  ~FolderWatch();
  FolderWatch(const FolderWatch&) = delete;
  FolderWatch& operator=(const FolderWatch&) = delete;

  /// Watches the names and finished writes directly in `folder`; again without harm. False where
  /// the system, or `most`, does not allow it.
  bool add(const std::filesystem::path& folder);

  struct Changes {
    std::vector<std::filesystem::path> folders;  ///< in which something changed, each once
    bool lost = false;                           ///< the system dropped some: look everywhere
  };
  /// Waits up to `patience` for the first change, gives all that are known then; returns early on a
  /// stop.
  Changes wait(std::chrono::milliseconds patience, const std::stop_token& stop);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace velatura::platform
