#include "lora/apply/stack_cache.h"

#include <string_view>

namespace velatura::lora {

std::size_t StackCache::Hash::operator()(const WeightKey& key) const {
  return std::hash<std::string_view>()(
      {reinterpret_cast<const char*>(key.data()), key.size() * sizeof(std::uint64_t)});
}

std::shared_ptr<const void> StackCache::find(const WeightKey& key) {
  const std::scoped_lock lock(mutex_);
  const auto found = index_.find(key);
  if (found == index_.end()) return nullptr;
  kept_.splice(kept_.begin(), kept_, found->second);
  return found->second->value;
}

std::shared_ptr<const void> StackCache::keep(Entry entry) {
  const std::scoped_lock lock(mutex_);
  const auto found = index_.find(entry.key);
  if (found != index_.end()) return found->second->value;
  bytes_ += entry.bytes;
  kept_.push_front(std::move(entry));
  index_.emplace(kept_.front().key, kept_.begin());
  while (bytes_ > most_bytes_ && kept_.size() > 1) {
    bytes_ -= kept_.back().bytes;
    index_.erase(kept_.back().key);
    kept_.pop_back();
  }
  return kept_.front().value;
}

std::shared_ptr<const LayerStack> StackCache::stack(std::vector<StackPart> parts) {
  constexpr std::uint64_t kStack = 0;
  WeightKey key = {kStack};
  for (const StackPart& part : parts) {
    key.push_back(reinterpret_cast<std::uintptr_t>(part.delta.get()));
    key.push_back(static_cast<std::uint64_t>(part.ranks));
  }
  if (parts.size() > 1) {
    if (const auto found = find(key)) return std::static_pointer_cast<const LayerStack>(found);
  }
  auto made = std::make_shared<const LayerStack>(std::move(parts));
  if (made->stands_alone()) return made;
  const std::size_t bytes = made->bytes();
  return std::static_pointer_cast<const LayerStack>(
      keep({.key = std::move(key), .value = std::move(made), .bytes = bytes}));
}

std::shared_ptr<const MadeWeight> StackCache::weight(const WeightKey& key,
                                                     const std::function<MadeWeight()>& make) {
  constexpr std::uint64_t kWeight = 1;
  WeightKey tagged = {kWeight};
  tagged.insert(tagged.end(), key.begin(), key.end());
  if (const auto found = find(tagged)) return std::static_pointer_cast<const MadeWeight>(found);
  auto made = std::make_shared<const MadeWeight>(make());
  const std::size_t bytes = made->bytes();
  return std::static_pointer_cast<const MadeWeight>(
      keep({.key = std::move(tagged), .value = std::move(made), .bytes = bytes}));
}

void StackCache::clear() {
  const std::scoped_lock lock(mutex_);
  index_.clear();
  kept_.clear();
  bytes_ = 0;
}

}  // namespace velatura::lora
