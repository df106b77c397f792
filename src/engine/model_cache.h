// Models, upscalers and adapters that stay loaded between jobs. Not here: finding files by name
// (roots.h).
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>

#include "lora/apply/adapter_cache.h"
#include "lora/apply/stack_cache.h"
#include "lora/library/metadata.h"
#include "pipelines/load_model.h"

namespace velatura::engine {

/// Thread-safe. A file that changed on disk (size or time) is loaded anew. The last model used
/// stays, and adapters bound to it (lora::AdapterCache).
class ModelCache {
 public:
  std::shared_ptr<const pipelines::DiffusionModel> model(const pipelines::LoadRequest& request);
  std::shared_ptr<const pipelines::Upscaler> upscaler(const std::filesystem::path& path);
  /// `path` bound to `model`, which must come from model(). Touches no file that is resident and
  /// unchanged.
  std::shared_ptr<const lora::BoundAdapter> adapter(
      const std::filesystem::path& path,
      const std::shared_ptr<const pipelines::DiffusionModel>& model);
  /// What an adapter from adapter() and the notes beside it say; read anew where one of them
  /// changed.
  lora::FileMetadata metadata(const std::filesystem::path& path, const lora::BoundAdapter& adapter);
  /// What live sets on `model` share between jobs.
  std::shared_ptr<lora::StackCache> stacks(
      const std::shared_ptr<const pipelines::DiffusionModel>& model);
  /// How many adapter files were opened so far, and how many times notes were read.
  std::size_t adapters_opened() const;
  std::size_t notes_read() const;

 private:
  struct Stamp {
    std::filesystem::path path;
    std::uintmax_t size = 0;
    std::filesystem::file_time_type changed;
    auto operator<=>(const Stamp&) const = default;
  };
  static Stamp stamp(const std::filesystem::path& path);

  struct MetadataEntry {
    std::vector<Stamp> stamps;  ///< of the file and of every note that may lie beside it
    lora::FileMetadata metadata;
  };

  void forget_other(const std::shared_ptr<const pipelines::DiffusionModel>& model);

  mutable std::mutex mutex_;
  std::vector<Stamp> model_stamps_;
  std::shared_ptr<const pipelines::DiffusionModel> model_;
  Stamp upscaler_stamp_;
  std::shared_ptr<const pipelines::Upscaler> upscaler_;
  std::weak_ptr<const pipelines::DiffusionModel> adapters_of_;
  lora::AdapterCache adapters_;
  std::shared_ptr<lora::StackCache> stacks_;
  std::map<std::filesystem::path, MetadataEntry> metadata_;
  std::size_t notes_read_ = 0;
};

}  // namespace velatura::engine
