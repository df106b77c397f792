// Every module of an adapter file as it was understood on a model: the view that findings, block
// maps and other programs' behaviour are derived from. Not here: binding itself (bind/).
#pragma once

#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lora/bind/bind.h"

namespace velatura::lora::tools {

/// Points into the file, the report and the bound adapter, which outlive it.
struct ModuleView {
  std::string name;  ///< as the file has it
  std::vector<std::pair<Role, std::string>> tensors;
  std::string dialect;    ///< empty where the model has no such name
  std::string algorithm;  ///< by its tensors; "half a pair" and the like are empty
  std::int64_t rank = 0;  ///< stored_rank(): of OFT's kinds the number of blocks
  std::optional<double> alpha;
  Fate fate = Fate::refused;  ///< of its matrices, the worst
  std::string reason;
  const Placement* placement = nullptr;    ///< null where the model has no such name
  const Component* component = nullptr;    ///< of the placement
  std::vector<const BoundModule*> layers;  ///< what it does there; none where it is not used
  bool has_output_axis = false;            ///< DoRA over rows of outputs (lora-formats §1.6)
  bool is_second = false;                  ///< an earlier module of the file has its layers

  bool has(Role role) const { return tensor(role) != nullptr; }
  const std::string* tensor(Role role) const;
  bool is_used() const { return !layers.empty(); }
  bool is_dora() const { return has(Role::dora_scale) || has(Role::magnitude_vector); }
  /// The rank r that its α is divided by; 0 where α/r scales nothing (blocks of OFT, say).
  std::int64_t scaled_rank() const;
};

/// All modules of the file, in file order. `bound` null: nothing of the file is used.
std::vector<ModuleView> view_modules(const AdapterFile& file, const BindReport& report,
                                     const BoundAdapter* bound,
                                     std::span<const Component> components, const NameIndex& names);

}  // namespace velatura::lora::tools
