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

std::shared_ptr<const BoundAdapter> AdapterCache::get(const fs::path& path,
                                                      std::span<const Component> components,
                                                      const NameIndex& names) {
  std::vector<Stamp> now = stamps(path);
  const std::string name = now.front().path;
  const std::scoped_lock lock(mutex_);
  const auto known = known_.find(name);
  if (known != known_.end() && known->second.stamps == now) {
    if (auto adapter = resident(known->second.hash)) return adapter;
  }
  ++counts_.opened;
  auto file = AdapterFile::open(path);
  const std::string hash = file->content_hash();
  known_[name] = {.stamps = std::move(now), .hash = hash};
  if (auto adapter = resident(hash)) return adapter;
  const std::uintmax_t bytes = bytes_of(*file);
  ++counts_.bound;
  entries_.push_front(
      {.hash = hash, .adapter = lora::bind(std::move(file), components, names), .bytes = bytes});
  make_room();
  return entries_.front().adapter;
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
}

AdapterCache::Counts AdapterCache::counts() const {
  const std::scoped_lock lock(mutex_);
  return counts_;
}

}  // namespace velatura::lora
