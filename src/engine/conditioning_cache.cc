#include "engine/conditioning_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace velatura::engine {

namespace {

/// Differs where the bytes differ, but for one case in 2^64.
std::size_t fingerprint(const void* bytes, std::size_t count) {
  return std::hash<std::string_view>()({static_cast<const char*>(bytes), count});
}

}  // namespace

std::shared_ptr<const pipelines::Conditioning> ConditioningCache::get(
    const std::shared_ptr<const pipelines::DiffusionModel>& model, const std::string& key,
    const std::function<pipelines::Conditioning()>& make) {
  {
    const std::scoped_lock lock(mutex_);
    if (of_.lock() != model) kept_.clear();
    of_ = model;
    const auto found = std::ranges::find(kept_, key, &Entry::key);
    if (found != kept_.end()) {
      kept_.splice(kept_.begin(), kept_, found);
      return found->text;
    }
    ++made_;
  }
  auto text = std::make_shared<const pipelines::Conditioning>(make());
  const std::scoped_lock lock(mutex_);
  if (of_.lock() != model) return text;
  kept_.push_front({key, text});
  if (kept_.size() > kMost) kept_.pop_back();
  return text;
}

std::size_t ConditioningCache::made() const {
  const std::scoped_lock lock(mutex_);
  return made_;
}

std::string text_key(const lora::AdapterSet& adapters,
                     std::span<const lora::Component> components) {
  std::string key;
  for (std::size_t component = 0; component < components.size(); ++component) {
    if (!weights::is_text_encoder(components[component].part)) continue;
    for (std::size_t i = 0; i < adapters.size(); ++i) {
      const lora::AdapterUse& use = adapters.use(i);
      const float strength = use.strength(components[component].part);
      if (strength == 0) continue;
      key += fmt::format("|{} {} {} {}", component, use.adapter->file->content_hash(), use.ranks,
                         strength);
      if (component < use.factors.size() && use.factors[component]) {
        const lora::LayerFactors& factors = *use.factors[component];
        key += fmt::format(" {:x}", fingerprint(factors.data(), factors.size() * sizeof(float)));
      }
    }
  }
  return key;
}

std::string text_key(std::span<const pipelines::prompt::Embedding> embeddings) {
  std::string key;
  for (const pipelines::prompt::Embedding& embedding : embeddings) {
    key +=
        fmt::format("|{:x}", fingerprint(embedding.vectors.bytes(), embedding.vectors.byte_size()));
    for (const std::string& trigger : embedding.triggers) key += " " + trigger;
  }
  return key;
}

}  // namespace velatura::engine
