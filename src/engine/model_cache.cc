#include "engine/model_cache.h"

#include <algorithm>

#include "lora/library/sidecars.h"

namespace velatura::engine {

namespace fs = std::filesystem;

namespace {

/// Factors are kept in f32: twice an f16 file. A gigabyte of files is some thirty LoRAs of usual
/// size.
constexpr std::uintmax_t kAdapterBytes = std::uintmax_t{1} << 30;
constexpr std::size_t kMostHashes = 100'000;  // some 20 MB

}  // namespace

ModelCache::Stamp ModelCache::stamp(const fs::path& path) {
  std::error_code ignored;
  Stamp result{.path = fs::weakly_canonical(path, ignored),
               .size = 0,
               .changed = fs::last_write_time(path, ignored)};
  if (fs::is_regular_file(path, ignored)) result.size = fs::file_size(path, ignored);
  return result;
}

std::shared_ptr<const pipelines::DiffusionModel> ModelCache::model(
    const pipelines::LoadRequest& request) {
  const std::vector<Stamp> stamps = {stamp(request.model), stamp(request.config),
                                     stamp(request.vae)};
  const std::scoped_lock lock(mutex_);
  if (!model_ || stamps != model_stamps_) {
    model_.reset();  // two models need not fit side by side
    model_ = pipelines::load_model(request);
    model_stamps_ = stamps;
  }
  return model_;
}

std::shared_ptr<const pipelines::Upscaler> ModelCache::upscaler(const fs::path& path) {
  const Stamp wanted = stamp(path);
  const std::scoped_lock lock(mutex_);
  if (!upscaler_ || wanted != upscaler_stamp_) {
    upscaler_ = pipelines::load_upscaler(path);
    upscaler_stamp_ = wanted;
  }
  return upscaler_;
}

std::shared_ptr<const lora::BoundAdapter> ModelCache::adapter(
    const fs::path& path, const std::shared_ptr<const pipelines::DiffusionModel>& model) {
  const Stamp wanted = stamp(path);
  const std::scoped_lock lock(mutex_);
  forget_other(model);
  if (const auto known = hash_of_.find(wanted); known != hash_of_.end()) {
    if (auto adapter = use(known->second)) return adapter;
  }
  ++adapters_opened_;
  auto file = lora::AdapterFile::open(path);
  const std::string hash = file->content_hash();
  if (hash_of_.size() > kMostHashes) hash_of_.clear();
  hash_of_.insert_or_assign(wanted, hash);
  if (auto adapter = use(hash)) return adapter;
  adapters_.push_front({.hash = hash,
                        .adapter = lora::bind(std::move(file), model->components, *model->names),
                        .bytes = wanted.size});
  std::uintmax_t total = 0;
  for (const AdapterEntry& entry : adapters_) total += entry.bytes;
  while (adapters_.size() > 1 && total > kAdapterBytes) {  // the one asked for stays, however large
    total -= adapters_.back().bytes;
    adapters_.pop_back();
  }
  return adapters_.front().adapter;
}

std::shared_ptr<const lora::BoundAdapter> ModelCache::use(const std::string& hash) {
  const auto found = std::ranges::find(adapters_, hash, &AdapterEntry::hash);
  if (found == adapters_.end()) return nullptr;
  adapters_.splice(adapters_.begin(), adapters_, found);
  return found->adapter;
}

void ModelCache::forget_other(const std::shared_ptr<const pipelines::DiffusionModel>& model) {
  if (stacks_ && adapters_of_.lock() == model) return;
  adapters_.clear();
  stacks_ = std::make_shared<lora::StackCache>();
  adapters_of_ = model;
}

std::shared_ptr<lora::StackCache> ModelCache::stacks(
    const std::shared_ptr<const pipelines::DiffusionModel>& model) {
  const std::scoped_lock lock(mutex_);
  forget_other(model);
  return stacks_;
}

lora::FileMetadata ModelCache::metadata(const fs::path& path, const lora::BoundAdapter& adapter) {
  std::error_code ignored;
  const fs::path stem = lora::library::sidecar_stem(path, fs::is_directory(path, ignored));
  std::vector<Stamp> stamps = {stamp(path)};
  for (const lora::library::NoteSuffix& note : lora::library::note_suffixes()) {
    fs::path beside = stem;
    beside += note.suffix;
    stamps.push_back(stamp(beside));
  }
  const std::scoped_lock lock(mutex_);
  MetadataEntry& entry = metadata_[path];
  if (entry.stamps != stamps) {
    entry.metadata = lora::read_metadata(path, adapter.file->source().metadata());
    entry.stamps = std::move(stamps);
    ++notes_read_;
  }
  return entry.metadata;
}

std::size_t ModelCache::adapters_opened() const {
  const std::scoped_lock lock(mutex_);
  return adapters_opened_;
}

std::size_t ModelCache::notes_read() const {
  const std::scoped_lock lock(mutex_);
  return notes_read_;
}

}  // namespace velatura::engine
