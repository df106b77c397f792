// Encoded prompts, kept between steps and jobs: a text is encoded anew only when its words, or what
// adapters do to the text encoders, have changed (behaviour.md §4). Not here: encoding.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "lora/apply/adapter_set.h"
#include "pipelines/conditioning.h"

namespace velatura::engine {

/// Thread-safe. Keeps the latest kMost of one model; another model empties it.
class ConditioningCache {
 public:
  static constexpr std::size_t kMost = 64;  ///< 30 MB of SD1.5's

  /// What `make` gives for `key`, which says everything that it depends on beside the model. Two
  /// threads that miss at once may both make it.
  std::shared_ptr<const pipelines::Conditioning> get(
      const std::shared_ptr<const pipelines::DiffusionModel>& model, const std::string& key,
      const std::function<pipelines::Conditioning()>& make);
  /// How often something had to be made.
  std::size_t made() const;

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<const pipelines::Conditioning> text;
  };
  mutable std::mutex mutex_;
  std::weak_ptr<const pipelines::DiffusionModel> of_;
  std::list<Entry> kept_;  ///< most recently used first
  std::size_t made_ = 0;
};

/// A part of a key for what adapters do to the text encoders now.
std::string text_key(const lora::AdapterSet& adapters, std::span<const lora::Component> components);
/// A part of a key for the embeddings that prompts may name.
std::string text_key(std::span<const pipelines::prompt::Embedding> embeddings);

}  // namespace velatura::engine
