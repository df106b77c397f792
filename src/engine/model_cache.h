// Models, upscalers and adapters that stay loaded between jobs. Not here: finding files by name
// (roots.h).
#pragma once

#include <filesystem>
#include <list>
#include <map>
#include <memory>
#include <mutex>

#include "lora/bind/bind.h"
#include "pipelines/load_model.h"

namespace velatura::engine {

/// Thread-safe. A file that changed on disk (size or time) is loaded anew. The last model used
/// stays, and the adapters bound to it, up to a bound on their bytes, least recently used first
/// out.
class ModelCache {
 public:
  std::shared_ptr<const pipelines::DiffusionModel> model(const pipelines::LoadRequest& request);
  std::shared_ptr<const pipelines::Upscaler> upscaler(const std::filesystem::path& path);
  /// `path` bound to `model`, which must come from model().
  std::shared_ptr<const lora::BoundAdapter> adapter(
      const std::filesystem::path& path,
      const std::shared_ptr<const pipelines::DiffusionModel>& model);

 private:
  struct Stamp {
    std::filesystem::path path;
    std::uintmax_t size = 0;
    std::filesystem::file_time_type changed;
    auto operator<=>(const Stamp&) const = default;
  };
  static Stamp stamp(const std::filesystem::path& path);

  struct AdapterEntry {
    Stamp stamp;
    std::shared_ptr<const lora::BoundAdapter> adapter;
    std::uintmax_t bytes = 0;
  };

  std::mutex mutex_;
  std::vector<Stamp> model_stamps_;
  std::shared_ptr<const pipelines::DiffusionModel> model_;
  Stamp upscaler_stamp_;
  std::shared_ptr<const pipelines::Upscaler> upscaler_;
  std::weak_ptr<const pipelines::DiffusionModel> adapters_of_;
  std::list<AdapterEntry> adapters_;  ///< most recently used first
};

}  // namespace velatura::engine
