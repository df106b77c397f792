// From the adapters that a request names, as options and as prompt tags, to bound ones with their
// strengths.
#pragma once

#include <string>
#include <vector>

#include "base/file_hash.h"
#include "engine/model_cache.h"
#include "engine/roots.h"
#include "lora/apply/adapter_set.h"
#include "velatura/engine.h"

namespace velatura::engine {

struct RequestedAdapters {
  std::vector<lora::AdapterUse> uses;  ///< in the order named: options, then tags
  std::vector<LoraOutcome> outcomes;   ///< one for each use
  std::string prompt;                  ///< without tags, trigger markers filled
};

struct AdapterServices {
  const Roots& roots;
  ModelCache& cache;
  FileHashes& hashes;
};

/// Tags are read unless the request's prompt is raw. Throws not_found with the nearest names for an
/// unknown adapter, mismatch when one does not fit at all, unsupported naming the item of a tag
/// that this version has no meaning for.
RequestedAdapters collect_adapters(const GenerateRequest& request,
                                   const std::shared_ptr<const pipelines::DiffusionModel>& model,
                                   const AdapterServices& services, const std::stop_token& stop);

}  // namespace velatura::engine
