// One job from request to pictures: resolves, loads, plans, samples, delivers. Not here: files of
// pictures (engine.cc), what runs inside a batch (pipelines/).
#pragma once

#include "base/file_hash.h"
#include "engine/device.h"
#include "engine/model_cache.h"
#include "engine/roots.h"
#include "velatura/engine.h"

namespace velatura::engine {

/// What an engine keeps between jobs. Its parts are thread-safe.
struct Session {
  explicit Session(const EngineOptions& options)
      : device(make_device(options.backend, options.precision, options.threads)),
        roots(options.model_dirs) {}
  Device device;
  Roots roots;
  ModelCache cache;
  FileHashes hashes;
};

/// All that can be wrong with a request is found before the first step. Throws Error.
GenerateResult run_job(Session& session, const GenerateRequest& request, const Observer& observer,
                       StopToken stop);

}  // namespace velatura::engine
