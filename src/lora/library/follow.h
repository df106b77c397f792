// Following a library's folders: new, changed and vanished files are seen within two seconds.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <thread>

#include "lora/library/shelf.h"

namespace velatura::lora::library {

/// A thread that keeps `shelf` up to date for as long as it lives. The system tells of changes
/// where it can; besides, every second the folders' own times are compared, and every 10 s folders
/// without a watch are read, whose files may have changed under the same name (network drives tell
/// of nothing).
class Follower {
 public:
  /// `shelf` must outlive it. `on_scan` is told of each scan that changed something, from the
  /// thread; what it throws is dropped.
  explicit Follower(Shelf& shelf, std::function<void(const LibraryScan&)> on_scan = {});

 private:
  void run(const std::stop_token& stop);
  void read_changes(const std::set<std::filesystem::path>& stale, const std::stop_token& stop);
  Shelf& shelf_;
  std::function<void(const LibraryScan&)> on_scan_;
  std::jthread thread_;
};

}  // namespace velatura::lora::library
