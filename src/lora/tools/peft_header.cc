#include "lora/tools/peft_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace velatura::lora::tools {

namespace {

using Json = nlohmann::ordered_json;

template <typename Counts>
auto most_frequent(const Counts& counts) {
  return std::ranges::max_element(counts, {}, [](const auto& entry) { return entry.second; })
      ->first;
}

}  // namespace

void PeftHeader::state(const Module& module) {
  Component& component = components_[module.component];
  component.modules[module.path] = {module.rank,
                                    module.alpha.value_or(static_cast<double>(module.rank))};
  component.has_magnitude = component.has_magnitude || module.has_magnitude;
  component.has_bias = component.has_bias || module.has_bias;
  has_alpha_ = has_alpha_ || module.alpha;
}

/// The most frequent value of a component, and patterns for the rest, anchored where a path is the
/// end of another one. Where there is such a header diffusers' loader looks for nothing else: it
/// fails on a component that is not in it, and drops magnitudes and biases that are not announced.
std::string PeftHeader::text() const {
  if (!has_alpha_) return {};
  Json all = Json::object();
  for (const auto& [name, component] : components_) {
    std::map<std::int64_t, int> ranks;
    std::map<double, int> values;
    for (const auto& [path, rank_and_alpha] : component.modules) {
      ++ranks[rank_and_alpha.first];
      ++values[rank_and_alpha.second];
    }
    const std::int64_t rank = most_frequent(ranks);
    const double alpha = most_frequent(values);
    Json rank_pattern = Json::object(), alpha_pattern = Json::object(), targets = Json::array();
    for (const auto& [path, own] : component.modules) {
      const bool is_end = std::ranges::any_of(
          component.modules,
          [&, &path = path](const auto& other) { return other.first.ends_with("." + path); });
      const std::string pattern = (is_end ? "^" : "") + path;
      if (own.first != rank) rank_pattern[pattern] = own.first;
      if (own.second != alpha) alpha_pattern[pattern] = own.second;
      targets.push_back(path);
    }
    all[name + ".r"] = rank;
    all[name + ".lora_alpha"] = alpha;
    all[name + ".rank_pattern"] = std::move(rank_pattern);
    all[name + ".alpha_pattern"] = std::move(alpha_pattern);
    all[name + ".target_modules"] = std::move(targets);
    all[name + ".peft_type"] = "LORA";
    if (component.has_magnitude) all[name + ".use_dora"] = true;
    if (component.has_bias) all[name + ".lora_bias"] = true;
  }
  return all.dump();
}

std::vector<std::string> PeftHeader::remarks() const {
  std::vector<std::string> remarks;
  if (has_alpha_) return remarks;
  for (const auto& [name, component] : components_) {
    std::set<std::int64_t> ranks;
    for (const auto& [path, rank_and_alpha] : component.modules) ranks.insert(rank_and_alpha.first);
    if (ranks.size() < 2) continue;
    remarks.push_back(
        fmt::format("{}: ranks from {} to {} and no alpha: diffusers' loader takes one rank as the "
                    "alpha of all, and applies modules of other ranks too weakly or too strongly",
                    name, *ranks.begin(), *ranks.rbegin()));
  }
  return remarks;
}

}  // namespace velatura::lora::tools
