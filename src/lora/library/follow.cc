#include "lora/library/follow.h"

#include <algorithm>
#include <exception>

#include "base/platform/file_stamp.h"
#include "base/platform/folder_watch.h"

namespace velatura::lora::library {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

/// A quarter of what a system gives one user at least (fs.inotify.max_user_watches, 8192): other
/// programs want some too.
constexpr std::size_t kMostWatches = 2048;
constexpr milliseconds kGlance{1000};
constexpr milliseconds kUnwatchedRead{10'000};
/// Copying a folder makes a burst of changes: one scan serves them all.
constexpr milliseconds kBurst{100};

class Changes {
 public:
  explicit Changes(const Shelf& shelf) : shelf_(shelf), watch_(kMostWatches) {}

  /// Waits a second at most, and gives the folders to be read again.
  std::set<fs::path> wait(const std::stop_token& stop) {
    const std::map<fs::path, std::int64_t> folders = shelf_.folders();
    std::set<fs::path> unwatched;
    for (const auto& [folder, changed] : folders) {
      if (!watch_.add(folder)) unwatched.insert(folder);
    }
    std::set<fs::path> stale;
    take(watch_.wait(stale_by_time(folders, stale) ? milliseconds(0) : kGlance, stop), folders,
         stale);
    if (!stale.empty()) take(watch_.wait(kBurst, stop), folders, stale);
    stale_by_time(folders, stale);
    if (steady_clock::now() - last_read_ >= kUnwatchedRead) {
      last_read_ = steady_clock::now();
      stale.merge(unwatched);
    }
    return stale;
  }

 private:
  static void take(const platform::FolderWatch::Changes& changes,
                   const std::map<fs::path, std::int64_t>& folders, std::set<fs::path>& stale) {
    stale.insert(changes.folders.begin(), changes.folders.end());
    if (!changes.lost) return;
    for (const auto& [folder, changed] : folders) stale.insert(folder);
  }
  static bool stale_by_time(const std::map<fs::path, std::int64_t>& folders,
                            std::set<fs::path>& stale) {
    for (const auto& [folder, changed] : folders) {
      const auto stamp = platform::stamp_of(folder);
      // A folder that is gone is no longer there in its parent, which is looked at; a root is.
      if ((stamp ? stamp->changed : 0) != changed) stale.insert(folder);
    }
    return !stale.empty();
  }

  const Shelf& shelf_;
  platform::FolderWatch watch_;
  steady_clock::time_point last_read_ = steady_clock::now();
};

}  // namespace

Follower::Follower(Shelf& shelf, std::function<void(const LibraryScan&)> on_scan)
    : shelf_(shelf),
      on_scan_(std::move(on_scan)),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

void Follower::run(const std::stop_token& stop) {
  try {
    Changes changes(shelf_);
    while (!stop.stop_requested()) read_changes(changes.wait(stop), stop);
  } catch (const std::exception&) {
    // Nothing can be watched any more (out of memory, of watches); scans that are asked for go on.
  }
}

void Follower::read_changes(const std::set<fs::path>& stale, const std::stop_token& stop) {
  if (stale.empty()) return;
  try {
    const LibraryScan scan =
        shelf_.refresh([&](const fs::path& folder) { return stale.contains(folder); }, stop);
    if (on_scan_ && (scan.read > 0 || scan.vanished > 0)) on_scan_(scan);
  } catch (const std::exception&) {
    // Stopped, or what nobody foresaw in a file or in on_scan: the next change is read all the
    // same.
  }
}

}  // namespace velatura::lora::library
