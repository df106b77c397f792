// From the adapters that a request names, as options, as prompt tags and for single pictures, to
// bound ones with their strengths over model, run and picture. Not here: the account of what became
// of them (adapter_report.h).
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/file_hash.h"
#include "engine/model_cache.h"
#include "engine/roots.h"
#include "lora/apply/adapter_set.h"
#include "pipelines/prompt/textual_inversion.h"
#include "velatura/engine.h"

namespace velatura::engine {

/// One adapter of a request, ready.
struct ResolvedAdapter {
  /// With every open end closed: the file's stem as name, weights, letters and presets of block
  /// weights, the mask. Repeats the picture whatever files beside the adapter say later.
  LoraRequest settled;
  lora::AdapterUse use;
  LoraOutcome outcome;  ///< without what only the run tells
  std::filesystem::path path;
  std::vector<pipelines::prompt::Embedding> embeddings;  ///< that the file brings along
};

/// What some pictures of a batch are made with.
struct PictureSet {
  std::vector<std::size_t> adapters;  ///< of RequestedAdapters::all
  std::string prompt;                 ///< without tags, trigger markers filled
};

struct RequestedAdapters {
  std::vector<ResolvedAdapter> all;  ///< options, tags, then those of single pictures
  std::size_t shared = 0;            ///< so many of them act on every picture
  /// Distinct ones; one for all pictures unless the request has adapters for single ones.
  std::vector<PictureSet> sets;
  std::vector<std::size_t> set_of_picture;  ///< by picture of the batch
  std::string prompt;                       ///< without tags; markers stay
};

struct AdapterServices {
  const Roots& roots;
  ModelCache& cache;
  FileHashes& hashes;
  /// Where the roots know no file of a name: an alias, a hash. Throws as resolve_lora().
  std::function<std::filesystem::path(const std::string&)> find_elsewhere;
};

/// What a request leaves open and the job has decided.
struct JobFacts {
  std::uint64_t seed = 0;
  int width = 0, height = 0;  ///< of the sampled picture
  diffusion::Prediction prediction = diffusion::Prediction::epsilon;
};

/// Tags are read unless the request's prompt is raw. Throws not_found with the nearest names for an
/// unknown adapter or a mask of no adapter, mismatch when one does not fit at all, invalid_argument
/// for block weights and lists that do not fit model or batch.
RequestedAdapters collect_adapters(const GenerateRequest& request, const JobFacts& facts,
                                   const std::shared_ptr<const pipelines::DiffusionModel>& model,
                                   const AdapterServices& services, const StopToken& stop);

}  // namespace velatura::engine
