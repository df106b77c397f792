// The library of adapter files: scans folders, reads what is new, remembers it in the index,
// answers from memory. Not here: which folders (engine/roots.h), following changes (follow.h).
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lora/library/index.h"
#include "lora/library/names.h"
#include "lora/library/scan.h"
#include "velatura/library.h"

namespace velatura::lora::library {

/// The library at one moment. Immutable.
struct Snapshot {
  explicit Snapshot(LibraryEntries all) : entries(std::move(all)), names(entries) {}
  Snapshot(const Snapshot&) = delete;
  const LibraryEntries entries;  ///< by root in search order, folder, name
  const NameTable names;
};

/// Thread-safe: one scan at a time, readers never wait for it.
class Shelf {
 public:
  struct Options {
    std::vector<std::filesystem::path> roots;  ///< in search order
    std::filesystem::path index;               ///< empty: in memory
    int threads = 0;  ///< 0: twice the processors, for half of the time is waiting for the disk
    /// Told while headers are read, from the scanning thread.
    std::function<void(std::size_t done, std::size_t total)> on_progress;
  };
  explicit Shelf(Options options);

  /// Looks at every folder. Throws cancelled; what was read until then is in the index.
  LibraryScan refresh(const std::stop_token& stop = {});
  /// Looks at the folders that `is_stale` names, and at new ones.
  LibraryScan refresh(const std::function<bool(const std::filesystem::path&)>& is_stale,
                      const std::stop_token& stop);
  /// Every folder with its own time at the last scan.
  std::map<std::filesystem::path, std::int64_t> folders() const;

  std::shared_ptr<const Snapshot> snapshot() const;
  /// As Library::compute_hashes.
  std::vector<FileHashValues> compute_hashes(
      std::span<const std::shared_ptr<const LibraryEntry>> entries, const std::stop_token& stop,
      const std::function<void(const LibraryEntry&)>& on_done);
  /// Whether `path`, with every link followed, lies in a root (whose links are followed too).
  bool contains(const std::filesystem::path& path) const;

 private:
  struct Known {
    Stamp stamp;
    std::shared_ptr<const LibraryEntry> entry;
  };
  /// Of one scan: a candidate and the root that it lies in.
  struct Found {
    const Candidate* candidate;
    const std::filesystem::path* root;
  };

  LibraryScan scan(const std::function<bool(const std::filesystem::path&)>* is_stale,
                   const std::stop_token& stop);
  std::vector<Tree> walk_roots(const std::function<bool(const std::filesystem::path&)>* is_stale,
                               const std::stop_token& stop, LibraryScan& report) const;
  using FoundByPath = std::unordered_map<std::string_view, Found>;
  void recall(const FoundByPath& found, const std::vector<Index::Record>& records);
  void recall_hashes(const FoundByPath& found);
  void read_new(const std::vector<Found>& unread, const std::stop_token& stop);
  void publish(const std::vector<Found>& in_order);
  void publish_with_hashes(LibraryEntries entries);

  Options options_;
  Index index_;
  std::mutex scanning_;  ///< guards the three below; held while files are read
  std::vector<Tree> trees_;
  std::unordered_map<std::string, Known> known_;  ///< by path
  bool has_recalled_ = false;
  mutable std::mutex mutex_;  ///< guards those below; held for moments
  std::unordered_map<std::string, FileHashValues> hashes_;  ///< by path
  std::shared_ptr<const Snapshot> snapshot_;
  std::map<std::filesystem::path, std::int64_t> folders_;
};

/// What one candidate holds; never throws for what is on disk: `problem` says it. Without hashes.
LibraryEntry read_entry(const Candidate& candidate, const std::filesystem::path& root);
/// Sets the root, and the path within it.
void place_entry(LibraryEntry& entry, const std::filesystem::path& root);
/// The file with the tensors: the entry's own, or the one in its folder. Throws not_found.
std::filesystem::path weights_of(const LibraryEntry& entry);
LibraryDetails read_details(const LibraryEntry& entry);
std::optional<LibraryPreview> read_preview(const LibraryEntry& entry);

}  // namespace velatura::lora::library
