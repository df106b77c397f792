// What a whole adapter file does to a model, to compare files that should do the same.
#pragma once

#include <map>
#include <utility>

#include "lora/algorithms/matrix.h"
#include "lora/tools/check.h"

namespace velatura::testing {

/// The weight a change is of, and whether of its bias.
using ChangedPart = std::pair<lora::Target, bool>;

/// All that the file does at strength 1, by layer: the weight's change and the bias's.
inline std::map<ChangedPart, Tensor> changes_of(const lora::tools::Account& account) {
  std::map<ChangedPart, Tensor> changes;
  const auto add = [&](lora::Target target, bool is_bias, const Tensor& change) {
    if (!change.defined() || lora::is_all_zero(change)) return;
    const auto [at, fresh] = changes.emplace(std::pair(target, is_bias), change.clone());
    for (std::int64_t i = 0; i < change.count() && !fresh; ++i)
      at->second.mutable_data<float>()[i] += change.data<float>()[i];
  };
  const auto& components = account.names->components;
  for (const lora::BoundModule& module : account.bound->modules) {
    const auto weight = [&] { return lora::pristine_weight(*module.placement, components); };
    const auto bias = [&] { return lora::pristine_bias(*module.placement, components); };
    add(module.target, false, module.delta->weight_change(weight, 1, 0));
    add(module.target, true, module.delta->bias_change(bias, 1));
  }
  return changes;
}

}  // namespace velatura::testing
