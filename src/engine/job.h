// One job from request to pictures: resolves, loads, plans, samples, delivers. Not here: files of
// pictures (engine.cc), what runs inside a batch (pipelines/).
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <vector>

#include "base/file_hash.h"
#include "engine/conditioning_cache.h"
#include "engine/device.h"
#include "engine/model_cache.h"
#include "engine/roots.h"
#include "velatura/engine.h"
#include "velatura/library.h"

namespace velatura::engine {

/// What an engine keeps between jobs. Its parts are thread-safe.
struct Session {
  explicit Session(const EngineOptions& options)
      : device(make_device(options.backend, options.precision, options.threads)),
        roots(options.model_dirs),
        model_dirs(options.model_dirs) {}
  Device device;
  Roots roots;
  ModelCache cache;
  ConditioningCache texts;
  FileHashes hashes;

  /// The adapter file that a name means where the roots know none: by alias, by hash. Reads the
  /// library when first asked, and every file where a name that none has can be a hash: once, the
  /// hashes are remembered. Throws as resolve_lora(), cancelled.
  std::filesystem::path find_in_library(const std::string& name, const StopToken& stop);

 private:
  std::vector<std::filesystem::path> model_dirs;
  std::mutex library_mutex;
  std::unique_ptr<Library> library;  ///< guarded by library_mutex
};

/// All that can be wrong with a request is found before the first step. Throws Error.
GenerateResult run_job(Session& session, const GenerateRequest& request, const Observer& observer,
                       StopToken stop);

}  // namespace velatura::engine
