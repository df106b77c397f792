#include "lora/tools/modules.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>
#include <span>
#include <unordered_map>

#include "base/error.h"
#include "lora/stored_algorithm.h"
#include "lora/stored_rank.h"

namespace velatura::lora::tools {

namespace {

std::int64_t rank_of(const AdapterFile& file, const ModuleView& module) {
  return stored_rank([&](Role role, int axis) -> std::int64_t {
    const std::string* tensor = module.tensor(role);
    if (tensor == nullptr) return 0;
    const Shape& shape = file.source().find(*tensor)->shape;
    return axis < shape.rank() ? shape[axis] : 0;
  });
}

std::optional<double> alpha_of(const AdapterFile& file, const ModuleView& module) {
  const std::string* name = module.tensor(Role::alpha);
  if (name == nullptr) return std::nullopt;
  const weights::TensorInfo* info = file.source().find(*name);
  if (info->shape.count() != 1) return std::nullopt;
  return static_cast<double>(to_f32(file.source().load(*name)).floats()[0]);
}

bool has_output_axis(const AdapterFile& file, const ModuleView& module) {
  if (module.has(Role::magnitude_vector)) return true;
  const std::string* tensor = module.tensor(Role::dora_scale);
  if (tensor == nullptr) return false;
  const Shape& shape = file.source().find(*tensor)->shape;
  return shape.rank() == 1 || (shape.rank() > 1 && shape[0] != 1);
}

/// Bound < note < ignored < refused: what is worth saying first.
void take_worst(const TensorFate& fate, ModuleView& module) {
  if (fate.fate < module.fate) return;
  if (fate.fate > module.fate || module.reason.empty()) module.reason = fate.reason;
  module.fate = fate.fate;
}

class Viewer {
 public:
  Viewer(const AdapterFile& file, const BindReport& report, const BoundAdapter* bound,
         std::span<const Component> components, const NameIndex& names)
      : file_(file), components_(components), names_(names), fates_(report.tensors) {
    if (bound == nullptr) return;
    for (const BoundModule& layer : bound->modules) layers_[layer.tensor].push_back(&layer);
  }

  ModuleView view(const FileModule& module) {
    ModuleView seen{.name = module.name, .tensors = {module.tensors.begin(), module.tensors.end()}};
    if (const NameIndex::Entry* entry = names_.find(file_.lookup_name(module))) place(*entry, seen);
    if (seen.tensors.size() == 1) {
      // A tensor called like a parameter of the model is one module, whatever it ends in.
      if (const auto parameter = names_.find_parameter(seen.tensors.front().second)) {
        place(parameter->entry, seen);
      } else if (seen.placement == nullptr) {
        place_parameter(seen);
      }
    }
    finish(seen);
    return seen;
  }

  /// Of a tensor that no suffix explains, if the model has a parameter of its name.
  std::optional<ModuleView> view_replacement(const std::string& tensor) {
    const auto parameter = names_.find_parameter(tensor);
    if (!parameter) return std::nullopt;
    const Role role = parameter->is_bias ? Role::set_bias : Role::set_weight;
    ModuleView seen{.name = tensor, .tensors = {{role, tensor}}};
    place(parameter->entry, seen);
    finish(seen);
    return seen;
  }

 private:
  void place(const NameIndex::Entry& entry, ModuleView& seen) const {
    seen.dialect = std::string(entry.dialect);
    if (entry.placement->pieces.empty()) return;  // a module that this model lacks
    seen.placement = entry.placement.get();
    const Target first = entry.placement->pieces.front().target;
    seen.component = &components_[static_cast<std::size_t>(first.component)];
  }

  /// What ComfyUI puts behind a parameter's own name, "….bias.diff" say.
  void place_parameter(ModuleView& seen) const {
    const auto parameter = names_.find_parameter(seen.name);
    Role& role = seen.tensors.front().first;
    if (!parameter || (role != Role::diff && role != Role::set_weight)) return;
    if (parameter->is_bias) role = role == Role::diff ? Role::diff_b : Role::set_bias;
    place(parameter->entry, seen);
  }

  void finish(ModuleView& seen) {
    seen.algorithm = stored_algorithm(file_.source(), [&](Role role) { return seen.tensor(role); });
    seen.rank = rank_of(file_, seen);
    seen.alpha = alpha_of(file_, seen);
    seen.has_output_axis = has_output_axis(file_, seen);
    seen.fate = Fate::bound;
    for (const auto& [role, tensor] : seen.tensors) {
      if (!fates_.empty()) take_worst(fates_[file_.source().position_of(tensor)], seen);
      const auto layers = layers_.find(tensor);
      if (layers != layers_.end()) seen.layers = layers->second;
    }
    const Place place{seen.placement, std::ranges::all_of(seen.tensors, acts_on_bias,
                                                          &std::pair<Role, std::string>::first)};
    if (seen.is_used()) {
      taken_.insert(place);
    } else {
      seen.is_second = taken_.contains(place);
    }
  }

  const AdapterFile& file_;
  std::span<const Component> components_;
  const NameIndex& names_;
  std::span<const TensorFate> fates_;  ///< in file order; none where nothing was bound
  std::unordered_map<std::string_view, std::vector<const BoundModule*>> layers_;
  using Place = std::pair<const Placement*, bool>;  ///< and whether for the bias alone
  std::set<Place> taken_;
};

}  // namespace

const std::string* ModuleView::tensor(Role role) const {
  const auto found = std::ranges::find(tensors, role, &std::pair<Role, std::string>::first);
  return found == tensors.end() ? nullptr : &found->second;
}

std::int64_t ModuleView::scaled_rank() const {
  const bool is_rotation =
      has(Role::oft_blocks) || has(Role::oft_list) || has(Role::oft_diag) || has(Role::oft_r);
  return is_rotation ? 0 : rank;
}

std::vector<ModuleView> view_modules(const AdapterFile& file, const BindReport& report,
                                     const BoundAdapter* bound,
                                     std::span<const Component> components,
                                     const NameIndex& names) {
  Viewer viewer(file, report, bound, components, names);
  std::vector<ModuleView> views;
  for (const FileModule& module : file.modules()) views.push_back(viewer.view(module));
  for (const std::string& tensor : file.unexplained()) {
    if (auto view = viewer.view_replacement(tensor)) views.push_back(std::move(*view));
  }
  return views;
}

}  // namespace velatura::lora::tools
