// The kind that a module's tensors make up, without making anything of them: what reports and the
// library say of a file. Not here: making it (algorithms/algorithm.h), the rank (stored_rank.h).
#pragma once

#include <algorithm>
#include <set>
#include <string>

#include "lora/algorithms/algorithm.h"

namespace velatura::lora {

/// "LoRA", "DoRA LoKr + bias difference": as make_delta() names it; empty where the tensors make up
/// none. `tensor_of(role)` points to the name of the module's tensor in `source`, null where it has
/// none.
template <typename TensorOf>
std::string stored_algorithm(const weights::Source& source, const TensorOf& tensor_of) {
  const auto has = [&](Role role) { return tensor_of(role) != nullptr; };
  const bool has_magnitude = has(Role::dora_scale) || has(Role::magnitude_vector);
  std::string name;
  std::set<Role> used;
  bool is_claimed = false;
  for (const Algorithm& algorithm : algorithms()) {
    const bool takes_weight = algorithm.claim == Claim::weight;
    if ((takes_weight && is_claimed) || !std::ranges::all_of(algorithm.needs, has)) continue;
    // A kind that accepts what this one needs has it already (LoRA's bias, say).
    const auto is_used = [&](Role role) { return used.contains(role); };
    if (std::ranges::all_of(algorithm.needs, is_used)) continue;
    is_claimed = is_claimed || takes_weight;
    used.insert(algorithm.needs.begin(), algorithm.needs.end());
    used.insert(algorithm.accepts.begin(), algorithm.accepts.end());
    if (!name.empty()) name += " + ";
    if (has_magnitude &&
        std::ranges::find(algorithm.accepts, Role::dora_scale) != algorithm.accepts.end())
      name += "DoRA ";
    const std::string& first = *tensor_of(algorithm.needs.front());
    name += algorithm.name_for(source.find(first)->shape.rank());
  }
  return name;
}

}  // namespace velatura::lora
