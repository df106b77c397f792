#include "lora/apply/adapter_cache.h"

#include <algorithm>

namespace velatura::lora {

namespace fs = std::filesystem;

namespace {

std::uintmax_t bytes_of(const AdapterFile& file) {
  std::uintmax_t bytes = 0;
  for (const weights::TensorInfo& tensor : file.source().tensors()) {
    bytes += static_cast<std::uintmax_t>(tensor.shape.count()) *
             static_cast<std::uintmax_t>(size_of(tensor.dtype));
  }
  return bytes;
}

}  // namespace

/// The file, or all files of the folder; and the configuration that scales it from outside.
std::vector<AdapterCache::Stamp> AdapterCache::stamps(const fs::path& path) {
  std::error_code ignored;
  std::vector<fs::path> files = {path};
  if (fs::is_directory(path, ignored)) {
    for (const auto& entry : fs::directory_iterator(path, ignored)) files.push_back(entry.path());
  } else {
    files.push_back(path.parent_path() / "adapter_config.json");
  }
  std::vector<Stamp> stamps;
  for (const fs::path& file : files) {
    Stamp stamp{.path = fs::weakly_canonical(file, ignored).string()};
    stamp.changed = fs::last_write_time(file, ignored);
    if (fs::is_regular_file(file, ignored)) stamp.size = fs::file_size(file, ignored);
    stamps.push_back(std::move(stamp));
  }
  std::ranges::sort(stamps.begin() + 1, stamps.end(), {}, &Stamp::path);
  return stamps;
}

std::shared_ptr<const BoundAdapter> AdapterCache::resident(const std::string& hash) {
  const auto found = std::ranges::find(entries_, hash, &Entry::hash);
  if (found == entries_.end()) return nullptr;
  entries_.splice(entries_.begin(), entries_, found);
  return found->adapter;
}

/// Has `key` for itself from the moment that no other thread has it. The lock is held when it is
/// made and when it goes.
class AdapterCache::Turn {
 public:
  Turn(AdapterCache& cache, std::unique_lock<std::mutex>& lock, std::string key)
      : cache_(cache), lock_(lock), key_(std::move(key)) {
    cache_.done_.wait(lock_, [this] { return !cache_.busy_.contains(key_); });
    cache_.busy_.insert(key_);
  }
  ~Turn() {
    if (!lock_.owns_lock()) lock_.lock();  // an error came while it was let go
    cache_.busy_.erase(key_);
    cache_.done_.notify_all();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  AdapterCache& cache_;
  std::unique_lock<std::mutex>& lock_;
  std::string key_;
};

std::shared_ptr<const BoundAdapter> AdapterCache::get(const fs::path& path,
                                                      std::span<const Component> components,
                                                      const NameIndex& names) {
  std::vector<Stamp> now = stamps(path);
  const std::string name = now.front().path;
  std::unique_lock lock(mutex_);
  const Turn of_path(*this, lock, name);
  const auto known = known_.find(name);
  if (known != known_.end() && known->second.stamps == now) {
    if (auto adapter = resident(known->second.hash)) return adapter;
  }
  ++counts_.opened;
  const std::uint64_t cleared = cleared_;
  lock.unlock();
  auto file = open_(path);
  const std::string hash = file->content_hash();
  const std::uintmax_t bytes = bytes_of(*file);
  lock.lock();
  // A path is no hash: it has separators.
  const Turn of_content(*this, lock, hash);
  if (cleared == cleared_) {
    if (auto adapter = resident(hash)) {
      remember(name, {.stamps = std::move(now), .hash = hash});
      return adapter;
    }
  }
  ++counts_.bound;
  lock.unlock();
  auto adapter = lora::bind(std::move(file), components, names);
  lock.lock();
  if (cleared != cleared_) return adapter;
  entries_.push_front({.hash = hash, .adapter = adapter, .bytes = bytes});
  make_room();
  remember(name, {.stamps = std::move(now), .hash = hash});
  return adapter;
}

/// What is not resident has to be opened again whatever is known of it.
void AdapterCache::remember(const std::string& name, Known known) {
  constexpr std::size_t kMostNames = 4096;  // of one content, under ever new names
  std::erase_if(known_, [&](const auto& other) {
    return std::ranges::find(entries_, other.second.hash, &Entry::hash) == entries_.end();
  });
  if (known_.size() >= kMostNames) known_.clear();
  known_[name] = std::move(known);
}

void AdapterCache::make_room() {
  std::uintmax_t total = 0;
  for (const Entry& entry : entries_) total += entry.bytes;
  while (entries_.size() > 1 && total > most_bytes_) {
    total -= entries_.back().bytes;
    entries_.pop_back();
  }
}

void AdapterCache::clear() {
  const std::scoped_lock lock(mutex_);
  known_.clear();
  entries_.clear();
  ++cleared_;
}

AdapterCache::Counts AdapterCache::counts() const {
  const std::scoped_lock lock(mutex_);
  Counts counts = counts_;
  counts.known = known_.size();
  return counts;
}

}  // namespace velatura::lora
