#include "engine/model_cache.h"

#include "lora/library/sidecars.h"

namespace velatura::engine {

namespace fs = std::filesystem;

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
  const std::scoped_lock lock(mutex_);
  forget_other(model);
  return adapters_.get(path, model->components, *model->names);
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
  return adapters_.counts().opened;
}

std::size_t ModelCache::notes_read() const {
  const std::scoped_lock lock(mutex_);
  return notes_read_;
}

}  // namespace velatura::engine
