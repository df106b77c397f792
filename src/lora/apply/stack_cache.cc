#include "lora/apply/stack_cache.h"

#include <algorithm>
#include <map>

namespace velatura::lora {

namespace {

std::shared_ptr<const ComponentStacks> assemble(StackKey key) {
  struct Shares {
    std::vector<std::size_t> members;
    std::vector<StackPart> parts;
  };
  std::map<nn::LayerId, Shares> by_layer;
  for (std::size_t member = 0; member < key.members.size(); ++member) {
    const std::int64_t most = key.members[member].ranks;
    for (const BoundModule& module : key.members[member].adapter->modules) {
      if (module.target.component != static_cast<int>(key.component) || module.delta->is_zero())
        continue;
      const std::int64_t rank = module.delta->rank();
      Shares& shares = by_layer[module.target.layer];
      shares.members.push_back(member);
      shares.parts.push_back(
          {.delta = module.delta.get(), .ranks = most > 0 ? std::min(most, rank) : rank});
    }
  }
  auto stacks = std::make_shared<ComponentStacks>();
  stacks->key = std::move(key);
  for (auto& [id, shares] : by_layer) {
    auto stack = std::make_unique<const LayerStack>(std::move(shares.parts));
    stacks->bytes += stack->bytes();
    stacks->layers.push_back(
        {.id = id, .members = std::move(shares.members), .stack = std::move(stack)});
  }
  return stacks;
}

}  // namespace

std::shared_ptr<const ComponentStacks> StackCache::get(StackKey key) {
  const std::scoped_lock lock(mutex_);
  const auto found =
      std::ranges::find_if(kept_, [&](const auto& stacks) { return stacks->key == key; });
  if (found != kept_.end()) {
    kept_.splice(kept_.begin(), kept_, found);
    return kept_.front();
  }
  kept_.push_front(assemble(std::move(key)));
  std::size_t total = 0;
  for (auto at = kept_.begin(); at != kept_.end();) {
    total += (*at)->bytes;
    at = total > most_bytes_ && at != kept_.begin() ? kept_.erase(at) : std::next(at);
  }
  return kept_.front();
}

void StackCache::clear() {
  const std::scoped_lock lock(mutex_);
  kept_.clear();
}

}  // namespace velatura::lora
