#include "lora/library/shelf.h"

#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <future>
#include <tuple>

#include "base/stop_token.h"
#include "lora/library/hashes.h"
#include "lora/library/record.h"

namespace velatura::lora::library {

namespace fs = std::filesystem;

namespace {

/// Entries that go to the index at once: a scan that is stopped loses no more than these.
constexpr std::size_t kBatch = 1000;

int thread_count(int asked) {
  constexpr int kFewest = 4, kMost = 32;
  return asked > 0 ? asked : std::clamp(2 * omp_get_num_procs(), kFewest, kMost);
}

/// Without "." and "..", and without a slash at the end, which would leave no last name.
fs::path tidy(const fs::path& path) {
  std::error_code error;
  fs::path whole = fs::absolute(path, error).lexically_normal();
  return whole.has_filename() ? whole : whole.parent_path();
}

bool lies_in(std::string_view path, const fs::path& root) {
  const std::string& folder = root.native();
  return path.size() > folder.size() && path.starts_with(folder) &&
         (folder.ends_with('/') || path[folder.size()] == '/');
}

/// Where an entry stands in a snapshot: by root, folder, name.
struct Place {
  std::size_t root;
  std::string_view folder, path;
  std::shared_ptr<const LibraryEntry> entry;

  Place(std::size_t root_number, std::shared_ptr<const LibraryEntry> of)
      : root(root_number), path(of->relative_path), entry(std::move(of)) {
    const std::size_t slash = path.rfind('/');
    if (slash != path.npos) folder = path.substr(0, slash);
  }
  bool operator<(const Place& other) const {
    return std::tie(root, folder, path) < std::tie(other.root, other.folder, other.path);
  }
};

std::vector<Index::Record> all_records(Index& index) {
  std::vector<Index::Record> records;
  index.each_record([&](std::string_view path, const Stamp& stamp, std::string_view bytes) {
    records.push_back({std::string(path), stamp, std::string(bytes)});
  });
  return records;
}

}  // namespace

Shelf::Shelf(Options options)
    : options_(std::move(options)),
      index_(options_.index),
      snapshot_(std::make_shared<const Snapshot>(LibraryEntries())) {
  options_.threads = thread_count(options_.threads);
  for (fs::path& root : options_.roots) root = tidy(root);
}

LibraryScan Shelf::refresh(const std::stop_token& stop) {
  return scan(nullptr, stop);
}

LibraryScan Shelf::refresh(const std::function<bool(const fs::path&)>& is_stale,
                           const std::stop_token& stop) {
  return scan(&is_stale, stop);
}

std::vector<Tree> Shelf::walk_roots(const std::function<bool(const fs::path&)>* is_stale,
                                    const std::stop_token& stop, LibraryScan& report) const {
  std::set<std::pair<std::uint64_t, std::uint64_t>> seen;
  std::vector<Tree> trees(options_.roots.size());
  for (std::size_t i = 0; i < trees.size(); ++i) {
    Walk how{.seen = seen, .threads = options_.threads, .stop = stop};
    if (is_stale != nullptr && i < trees_.size()) {
      how.known = &trees_[i];
      how.is_stale = *is_stale;
    }
    walk(options_.roots[i], how, trees[i]);
    for (const auto& [folder, contents] : trees[i]) {
      if (!contents.problem.empty())
        report.notes.push_back(
            fmt::format("the folder \"{}\": {}", folder.string(), contents.problem));
    }
    report.folders += trees[i].size();
  }
  return trees;
}

LibraryScan Shelf::scan(const std::function<bool(const fs::path&)>* is_stale,
                        const std::stop_token& stop) {
  const auto begin = std::chrono::steady_clock::now();
  const std::lock_guard lock(scanning_);
  LibraryScan report;
  // Read while the folders are.
  std::future<std::vector<Index::Record>> remembered;
  if (!has_recalled_)
    remembered = std::async(std::launch::async, [this] { return all_records(index_); });
  std::vector<Tree> trees = walk_roots(is_stale, stop, report);
  std::vector<Found> in_order;
  FoundByPath by_path;
  for (std::size_t i = 0; i < trees.size(); ++i) {
    for (const auto& [folder, contents] : trees[i]) {
      for (const Candidate& candidate : contents.candidates) {
        in_order.push_back({&candidate, &options_.roots[i]});
        by_path.emplace(candidate.path, in_order.back());
      }
    }
  }
  if (!std::exchange(has_recalled_, true)) {
    recall(by_path, remembered.get());
    recall_hashes(by_path);
  }
  std::vector<Found> unread;
  for (const Found& found : in_order) {
    const auto known = known_.find(found.candidate->path);
    if (known == known_.end() || known->second.stamp != found.candidate->stamp)
      unread.push_back(found);
  }
  read_new(unread, stop);
  std::vector<std::string> vanished;
  std::erase_if(known_, [&](const auto& known) {
    if (by_path.contains(known.first)) return false;
    vanished.push_back(known.first);
    return true;
  });
  index_.remove(vanished);
  publish(in_order);
  trees_ = std::move(trees);
  {
    const std::lock_guard published(mutex_);
    folders_.clear();
    for (const Tree& tree : trees_) {
      for (const auto& [folder, contents] : tree) folders_.emplace(folder, contents.changed);
    }
  }
  report.files = in_order.size();
  report.read = unread.size();
  report.vanished = vanished.size();
  for (std::string& note : index_.take_notes()) report.notes.push_back(std::move(note));
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return report;
}

/// Takes from the index what still holds, and lets go what our roots no longer have.
void Shelf::recall(const FoundByPath& found, const std::vector<Index::Record>& records) {
  std::vector<std::shared_ptr<LibraryEntry>> entries(records.size());
  const auto count = static_cast<std::ptrdiff_t>(records.size());
  constexpr int kAtOnce = 64;
  const int threads = count < kAtOnce ? 1 : options_.threads;
#pragma omp parallel for schedule(dynamic, kAtOnce) num_threads(threads)
  for (std::ptrdiff_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const auto place = found.find(records[at].path);
    if (place == found.end()) continue;
    const auto& [candidate, root] = place->second;
    if (records[at].stamp != candidate->stamp) continue;
    auto entry = std::make_shared<LibraryEntry>();
    if (!decode_record(records[at].bytes, *entry)) continue;
    entry->name = candidate->name;
    entry->path = candidate->path;
    place_entry(*entry, *root);
    entry->bytes = candidate->stamp.bytes;
    entry->changed = candidate->stamp.changed;
    entries[at] = std::move(entry);
  }
  std::vector<std::string> gone;
  known_.reserve(records.size());
  for (std::size_t i = 0; i < records.size(); ++i) {
    const std::string& path = records[i].path;
    if (entries[i]) {
      known_.insert_or_assign(path, Known{records[i].stamp, std::move(entries[i])});
    } else if (!found.contains(path) &&
               std::ranges::any_of(options_.roots,
                                   [&](const fs::path& root) { return lies_in(path, root); })) {
      gone.push_back(path);
    }
  }
  index_.remove(gone);
}

void Shelf::recall_hashes(const FoundByPath& found) {
  index_.each_hash([&](const Index::Hash& hash) {
    const auto at = found.find(hash.path);
    if (at == found.end() || at->second.candidate->stamp.bytes != hash.bytes ||
        at->second.candidate->stamp.changed != hash.changed)
      return;
    const std::lock_guard lock(mutex_);
    set_hash(hashes_[hash.path], hash.kind, hash.hex);
  });
}

void Shelf::read_new(const std::vector<Found>& unread, const std::stop_token& stop) {
  // A batch is written while the next is read: now and then the disk is waited for. What leaves
  // this function waits for the last.
  std::future<void> writing;
  for (std::size_t begin = 0; begin < unread.size(); begin += kBatch) {
    throw_if_stopped(stop);
    if (options_.on_progress) options_.on_progress(begin, unread.size());
    const std::span batch =
        std::span(unread).subspan(begin, std::min(kBatch, unread.size() - begin));
    std::vector<std::shared_ptr<const LibraryEntry>> entries(batch.size());
    std::vector<Index::Record> records(batch.size());
    const auto count = static_cast<std::ptrdiff_t>(batch.size());
    const int threads = count < 4 ? 1 : options_.threads;
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (std::ptrdiff_t i = 0; i < count; ++i) {
      if (stop.stop_requested()) continue;
      const auto at = static_cast<std::size_t>(i);
      const Candidate& candidate = *batch[at].candidate;
      LibraryEntry entry = read_entry(candidate, *batch[at].root);
      records[at] = {candidate.path, candidate.stamp, encode_record(entry)};
      entries[at] = std::make_shared<const LibraryEntry>(std::move(entry));
    }
    throw_if_stopped(stop);
    if (writing.valid()) writing.get();
    writing = std::async(std::launch::async,
                         [this, written = std::move(records)] { index_.put(written); });
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const std::string& path = batch[i].candidate->path;
      const Stamp& stamp = batch[i].candidate->stamp;
      const auto before = known_.find(path);
      if (before != known_.end() && (before->second.stamp.bytes != stamp.bytes ||
                                     before->second.stamp.changed != stamp.changed)) {
        const std::lock_guard lock(mutex_);
        hashes_.erase(path);
      }
      known_.insert_or_assign(path, Known{stamp, std::move(entries[i])});
    }
  }
  if (writing.valid()) writing.get();
}

/// Entries are shared between snapshots; one whose place differs is made anew.
void Shelf::publish(const std::vector<Found>& in_order) {
  std::vector<Place> places;
  places.reserve(in_order.size());
  for (const Found& found : in_order) {
    std::shared_ptr<const LibraryEntry>& entry = known_.at(found.candidate->path).entry;
    if (entry->root.native() != found.root->native()) {
      auto placed = std::make_shared<LibraryEntry>(*entry);
      place_entry(*placed, *found.root);
      entry = std::move(placed);
    }
    places.emplace_back(static_cast<std::size_t>(found.root - options_.roots.data()), entry);
  }
  if (!std::ranges::is_sorted(places, std::less())) std::ranges::stable_sort(places, std::less());
  LibraryEntries entries;
  entries.reserve(places.size());
  for (Place& place : places) entries.push_back(std::move(place.entry));
  publish_with_hashes(std::move(entries));
}

void Shelf::publish_with_hashes(LibraryEntries entries) {
  {
    const std::lock_guard lock(mutex_);
    for (auto& entry : entries) {
      const auto hashes = hashes_.find(entry->path.native());
      if (hashes == hashes_.end() || hashes->second == entry->hashes) continue;
      auto hashed = std::make_shared<LibraryEntry>(*entry);
      hashed->hashes = hashes->second;
      entry = std::move(hashed);
    }
  }
  auto snapshot = std::make_shared<const Snapshot>(std::move(entries));
  const std::lock_guard lock(mutex_);
  snapshot_ = std::move(snapshot);
}

std::shared_ptr<const Snapshot> Shelf::snapshot() const {
  const std::lock_guard lock(mutex_);
  return snapshot_;
}

std::map<fs::path, std::int64_t> Shelf::folders() const {
  const std::lock_guard lock(mutex_);
  return folders_;
}

}  // namespace velatura::lora::library
