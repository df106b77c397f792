// Hashes of entries, and the check of paths that come from outside.
#include "lora/library/hashes.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/file_hash.h"
#include "base/platform/file_stamp.h"
#include "base/stop_token.h"
#include "lora/library/metadata.h"
#include "lora/library/shelf.h"

namespace velatura::lora::library {

namespace fs = std::filesystem;

namespace {

struct KindRow {
  HashKind kind;
  HashedPart part;
  std::string FileHashValues::*field;
};
constexpr auto kKinds =
    std::to_array<KindRow>({{HashKind::auto_v1, HashedPart::legacy, &FileHashValues::auto_v1},
                            {HashKind::auto_v3, HashedPart::data, &FileHashValues::auto_v3},
                            {HashKind::sha256, HashedPart::whole, &FileHashValues::sha256}});

bool is_unchanged(const fs::path& weights, const LibraryEntry& entry) {
  const auto stamp = platform::stamp_of(weights);
  return stamp && stamp->bytes == entry.bytes && stamp->changed == entry.changed;
}

/// Fills in what `hashes` lacks; gives what may be remembered.
std::vector<Index::Hash> fill_in(const LibraryEntry& entry, FileHashValues& hashes,
                                 const std::stop_token& stop) {
  std::vector<Index::Hash> fresh;
  const fs::path weights = weights_of(entry);
  for (const KindRow& row : kKinds) {
    if (!(hashes.*row.field).empty()) continue;
    // Below a megabyte the legacy range is empty, and always was.
    if (row.kind == HashKind::auto_v1 && entry.bytes <= (1u << 20)) continue;
    const std::string hex = hash_file(weights, row.part, stop);
    set_hash(hashes, row.kind, hex);
    fresh.push_back({entry.path.native(), row.kind, entry.bytes, entry.changed, hex});
  }
  if (!is_unchanged(weights, entry)) fresh.clear();
  return fresh;
}

}  // namespace

void set_hash(FileHashValues& hashes, HashKind kind, const std::string& hex) {
  if (is_hash_of_nothing(hex)) return;
  for (const KindRow& row : kKinds) {
    if (row.kind == kind) hashes.*row.field = kind == HashKind::auto_v1 ? hex.substr(0, 8) : hex;
  }
  if (kind == HashKind::sha256) hashes.auto_v2 = hex.substr(0, 10);
}

std::vector<FileHashValues> Shelf::compute_hashes(
    std::span<const std::shared_ptr<const LibraryEntry>> entries, const std::stop_token& stop,
    const std::function<void(const LibraryEntry&)>& on_done) {
  std::vector<FileHashValues> all(entries.size());
  const auto count = static_cast<std::ptrdiff_t>(entries.size());
  std::mutex telling;
#pragma omp parallel for schedule(dynamic) num_threads(options_.threads)
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const LibraryEntry& entry = *entries[at];
    if (stop.stop_requested()) continue;
    all[at] = entry.hashes;
    try {
      const std::vector<Index::Hash> fresh = fill_in(entry, all[at], stop);
      index_.put_hashes(fresh);
      if (!fresh.empty()) {
        const std::lock_guard lock(mutex_);
        hashes_.insert_or_assign(entry.path.native(), all[at]);
      }
    } catch (const std::exception&) {
      continue;  // a file that cannot be read has no hash; a stop is thrown below
    }
    const std::lock_guard lock(telling);
    if (on_done) on_done(entry);
  }
  throw_if_stopped(stop);
  const std::lock_guard lock(scanning_);
  publish_with_hashes(snapshot()->entries);
  return all;
}

bool Shelf::contains(const fs::path& path) const {
  std::error_code error;
  const fs::path real = fs::canonical(path, error);
  if (error) return false;
  for (const fs::path& root : options_.roots) {
    const fs::path real_root = fs::canonical(root, error);
    if (error) continue;
    if (std::mismatch(real_root.begin(), real_root.end(), real.begin(), real.end()).first ==
        real_root.end())
      return true;
  }
  return false;
}

}  // namespace velatura::lora::library
