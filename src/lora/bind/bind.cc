#include "lora/bind/bind.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <list>
#include <set>

#include "base/error.h"
#include "base/text.h"
#include "lora/bind/absent.h"
#include "lora/bind/family.h"
#include "lora/bind/traits.h"

namespace velatura::lora {

namespace {

/// Collects the fates in the order of the file's tensors; every tensor gets exactly one.
class Ledger {
 public:
  explicit Ledger(const weights::Source& source)
      : source_(source), fates_(source.tensors().size()), is_set_(fates_.size()) {}
  void set(const std::string& tensor, Fate fate, std::vector<std::string> targets,
           std::string reason = {}) {
    const std::size_t position = source_.position_of(tensor);
    fates_[position] = {tensor, std::move(targets), fate, std::move(reason)};
    is_set_[position] = true;
  }
  std::vector<TensorFate> take() {
    VELATURA_CHECK(std::ranges::find(is_set_, false) == is_set_.end());
    return std::move(fates_);
  }

 private:
  const weights::Source& source_;
  std::vector<TensorFate> fates_;
  std::vector<bool> is_set_;
};

/// Every tensor of a module with its role.
std::vector<std::pair<Role, std::string>> tensors_of(const FileModule& module) {
  std::vector<std::pair<Role, std::string>> all;
  for (const auto& [role, tensor] : module.tensors) {
    if (role != Role::oft_list) all.emplace_back(role, tensor);
  }
  for (const auto& [number, tensor] : module.numbered) all.emplace_back(Role::oft_list, tensor);
  return all;
}

/// What of a layer a tensor acts on: no two modules of a file may act on the same (lora-formats
/// §2.9). A bias that stands in for the layer's may be changed beside it.
enum class Part { weight, bias, whole_bias };

Part part_of(Role role) {
  if (role == Role::set_bias) return Part::whole_bias;
  return acts_on_bias(role) ? Part::bias : Part::weight;
}

class Binder {
 public:
  Binder(const AdapterFile& file, std::span<const Component> components, const NameIndex& names)
      : file_(file), components_(components), names_(names), ledger_(file.source()) {}
  void run(BoundAdapter& bound, const FamilyVerdict& verdict);

 private:
  void refuse_contradicted();
  void note(const FileModule& module, std::string_view reason) {
    for (const auto& [role, tensor] : tensors_of(module))
      ledger_.set(tensor, Fate::note, {}, std::string(reason));
  }

  void bind_module(const FileModule& module, BoundAdapter& bound);
  bool bind_parameter(const FileModule& module, BoundAdapter& bound);
  void bind_whole(const std::string& tensor, const NameIndex::Parameter& parameter,
                  BoundAdapter& bound);
  void bind_at(const FileModule& module, const NameIndex::Entry& entry, BoundAdapter& bound);
  MadeDelta make(const FileModule& module, const Placement& placement);
  void account_unknown(const FileModule& module);
  void report_half(const FileModule& module, const std::vector<std::string>& targets);
  /// The earlier module that has the part of one of the layers; null where none has.
  const FileModule* earlier(const Placement& placement, Part part) const;
  void bind_rest(const FileModule& module, const NameIndex::Entry& entry, BoundAdapter& bound);
  void drop_second(const FileModule& module, const std::vector<std::string>& targets,
                   const FileModule& first);
  void account(const FileModule& module, const NameIndex::Entry& entry, const MadeDelta& made,
               BindReport& report);
  void refuse(const FileModule& module, const std::vector<std::string>& targets,
              const std::string& reason) {
    for (const auto& [role, tensor] : tensors_of(module))
      ledger_.set(tensor, Fate::refused, targets, reason);
  }
  std::string unknown_name_reason(const FileModule& module);
  std::vector<std::string> target_names(const Placement& placement, bool of_bias = false) const;
  void settle_leftovers(BoundAdapter& bound);

  const AdapterFile& file_;
  std::span<const Component> components_;
  const NameIndex& names_;
  Ledger ledger_;
  /// The module of the file that has a part of a layer.
  std::map<std::pair<Target, Part>, const FileModule*> taken_;
  std::list<FileModule> parameters_;         ///< modules made of what is named like a parameter
  std::map<int, std::string> contradicted_;  ///< components refused whole, with the reason
  int searched_ = 0;
};

void Binder::run(BoundAdapter& bound, const FamilyVerdict& verdict) {
  refuse_contradicted();
  for (const FileModule& module : file_.modules()) bind_module(module, bound);
  settle_leftovers(bound);
  bound.report.tensors = ledger_.take();
  if (verdict.rival.empty()) return;
  bound.report.remark = verdict.remark;
  const auto first = std::ranges::find(bound.report.tensors, Fate::bound, &TensorFate::fate);
  if (first == bound.report.tensors.end()) return;
  first->fate = Fate::note;
  first->reason = verdict.remark;
}

/// Modules whose inputs are as wide as the text: what tells models of one layout apart.
bool reads_text(std::string_view path) {
  const auto ends = [&](std::string_view end) { return path.ends_with(end); };
  return ends("attn2.to_k") || ends("attn2.to_v") || ends("self_attn.q_proj") ||
         ends("self_attn.k_proj");
}

/// Where the text is of another width in every such module of a component, what else would fit by
/// chance must not be applied (lora-formats §5.2).
void Binder::refuse_contradicted() {
  std::set<int> fitting;
  for (const FileModule& module : file_.modules()) {
    const NameIndex::Entry* entry = names_.find(file_.lookup_name(module));
    if (entry == nullptr || entry->placement->pieces.empty() || !reads_text(entry->placement->path))
      continue;
    const auto side = input_side(file_, module);
    const Placement& placement = *entry->placement;
    if (!side || placement.weight.rank() < 2) continue;
    const int component = placement.pieces.front().target.component;
    if (side->width == placement.weight[1]) {
      fitting.insert(component);
    } else {
      contradicted_.try_emplace(
          component,
          fmt::format(
              "\"{}\" {} reads a text {} wide, the model's is {} wide: nothing of this part "
              "is applied",
              shortened(side->tensor->name), side->tensor->shape.to_string(), side->width,
              placement.weight[1]));
    }
  }
  for (const int component : fitting) contradicted_.erase(component);
}

std::vector<std::string> Binder::target_names(const Placement& placement, bool of_bias) const {
  std::vector<std::string> names;
  for (const Piece& piece : placement.pieces) {
    const Component& component = components_[static_cast<std::size_t>(piece.target.component)];
    const ModuleShape& module = component.modules[static_cast<std::size_t>(piece.target.layer)];
    names.push_back(component.name + "." +
                    (of_bias ? module.path + ".bias" : module.weight_name()));
  }
  return names;
}

// Looking for the nearest of some ten thousand spellings costs a millisecond; a file of another
// family would ask a thousand times.
constexpr int kMostSearches = 3;

std::string Binder::unknown_name_reason(const FileModule& module) {
  if (++searched_ > kMostSearches) return "the model has no module of this name";
  return fmt::format("the model has no module of this name; nearest known: \"{}\"",
                     names_.nearest(module.name));
}

void Binder::bind_module(const FileModule& module, BoundAdapter& bound) {
  if (module.tensors.size() == 1) {
    const std::string& tensor = module.tensors.begin()->second;
    if (const auto parameter = names_.find_parameter(tensor))
      return bind_whole(tensor, *parameter, bound);
  }
  const NameIndex::Entry* entry = names_.find(file_.lookup_name(module));
  if (entry == nullptr) {
    if (!bind_parameter(module, bound)) account_unknown(module);
    return;
  }
  if (!entry->absent.empty()) return note(module, entry->absent);
  bind_at(module, *entry, bound);
}

constexpr std::string_view kTrainingLeftovers = "_aux.";
constexpr std::string_view kLeftoverReason = "left over from training, no part of the adapter";

void Binder::account_unknown(const FileModule& module) {
  const std::string_view unloaded = unloaded_text_encoder(module.name, components_);
  if (!unloaded.empty()) return note(module, unloaded);
  if (const auto extra = harmless_extra(module.name); !extra.empty()) return note(module, extra);
  if (const auto misfit = known_misfit(module.name); !misfit.empty())
    return refuse(module, {}, std::string(misfit));
  if (!module.name.starts_with(kTrainingLeftovers))
    return refuse(module, {}, unknown_name_reason(module));
  for (const auto& [role, tensor] : tensors_of(module))
    ledger_.set(tensor, Fate::ignored, {}, std::string(kLeftoverReason));
}

/// A tensor called like a parameter of the model stands in for it (lora-formats §2.0, rule 4).
void Binder::bind_whole(const std::string& tensor, const NameIndex::Parameter& parameter,
                        BoundAdapter& bound) {
  const Role role = parameter.is_bias ? Role::set_bias : Role::set_weight;
  parameters_.push_back({.name = tensor, .tensors = {{role, tensor}}, .numbered = {}});
  bind_at(parameters_.back(), parameter.entry, bound);
}

/// ComfyUI puts its suffixes behind a parameter's own name too, where that does not end in
/// ".weight": "diffusion_model.out.2.bias.diff", "….query_norm.scale.set_weight".
bool Binder::bind_parameter(const FileModule& module, BoundAdapter& bound) {
  const auto parameter = names_.find_parameter(module.name);
  if (!parameter || module.tensors.size() != 1) return false;
  Role role = module.tensors.begin()->first;
  if (role != Role::diff && role != Role::set_weight) return false;
  if (parameter->is_bias) role = role == Role::diff ? Role::diff_b : Role::set_bias;
  parameters_.push_back(
      {.name = module.name, .tensors = {{role, module.tensors.begin()->second}}, .numbered = {}});
  bind_at(parameters_.back(), parameter->entry, bound);
  return true;
}

void Binder::bind_at(const FileModule& module, const NameIndex::Entry& entry, BoundAdapter& bound) {
  const Placement& placement = *entry.placement;
  const bool is_bias =
      std::ranges::all_of(module.tensors, acts_on_bias, &std::pair<const Role, std::string>::first);
  const std::vector<std::string> targets = target_names(placement, is_bias);
  const auto contradiction = contradicted_.find(placement.pieces.front().target.component);
  if (contradiction != contradicted_.end()) return refuse(module, targets, contradiction->second);
  MadeDelta made;
  try {
    made = make(module, placement);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::mismatch && error.kind() != ErrorKind::bad_file &&
        error.kind() != ErrorKind::unsupported)
      throw;
    return refuse(module, targets, error.what());
  }
  if (made.delta == nullptr) return report_half(module, targets);
  std::set<Part> parts;
  for (const auto& [role, tensor] : module.tensors) parts.insert(part_of(role));
  const auto is_taken = [&](Part part) { return earlier(placement, part) != nullptr; };
  if (std::ranges::all_of(parts, is_taken))
    return drop_second(module, targets, *earlier(placement, *parts.begin()));
  if (std::ranges::any_of(parts, is_taken)) return bind_rest(module, entry, bound);
  account(module, entry, made, bound.report);
  std::shared_ptr<const ModuleDelta> whole = std::move(made.delta);
  for (const Piece& piece : placement.pieces) {
    for (const Part part : parts) taken_.emplace(std::pair(piece.target, part), &module);
    bound.modules.push_back({.target = piece.target,
                             .delta = placement.is_plain() ? whole : cut(whole, piece.rows),
                             .placement = entry.placement,
                             .tensor = module.tensors.begin()->second});
  }
}

const FileModule* Binder::earlier(const Placement& placement, Part part) const {
  for (const Piece& piece : placement.pieces) {
    const auto found = taken_.find({piece.target, part});
    if (found != taken_.end()) return found->second;
  }
  return nullptr;
}

/// The parts of the layer that no earlier module has; its other tensors are a second definition.
void Binder::bind_rest(const FileModule& module, const NameIndex::Entry& entry,
                       BoundAdapter& bound) {
  FileModule rest{.name = module.name, .tensors = {}, .numbered = module.numbered};
  for (const auto& [role, tensor] : module.tensors) {
    const FileModule* first = earlier(*entry.placement, part_of(role));
    if (first == nullptr) {
      rest.tensors.emplace(role, tensor);
    } else {
      drop_second({.name = module.name, .tensors = {{role, tensor}}, .numbered = {}},
                  target_names(*entry.placement, acts_on_bias(role)), *first);
    }
  }
  parameters_.push_back(std::move(rest));
  bind_at(parameters_.back(), entry, bound);
}

MadeDelta Binder::make(const FileModule& module, const Placement& placement) {
  const Target first = placement.pieces.front().target;
  const Component& component = components_[static_cast<std::size_t>(first.component)];
  return make_delta({.file = file_,
                     .module = module,
                     .path = placement.path,
                     .kind = placement.kind,
                     .weight = placement.weight,
                     .has_bias = placement.has_bias,
                     .component = peft_component(component)});
}

void Binder::report_half(const FileModule& module, const std::vector<std::string>& targets) {
  for (const auto& [role, tensor] : tensors_of(module)) {
    if (role == Role::alpha) {
      ledger_.set(tensor, Fate::ignored, targets, "an alpha without matrices has no effect");
    } else {
      ledger_.set(tensor, Fate::refused, targets,
                  fmt::format("\"{}\" has its {} alone, the partner is missing",
                              shortened(module.name), to_string(role)));
    }
  }
}

/// Two spellings of one layer: a copy is dropped quietly, anything else is reported (lora-formats
/// §2.9).
void Binder::drop_second(const FileModule& module, const std::vector<std::string>& targets,
                         const FileModule& first) {
  const bool is_copy =
      module.tensors.size() == first.tensors.size() &&
      std::ranges::all_of(module.tensors, [&](const auto& entry) {
        const auto other = first.tensors.find(entry.first);
        return other != first.tensors.end() && same_bytes(file_, entry.second, other->second);
      });
  const std::string name = shortened(first.name);
  for (const auto& [role, tensor] : tensors_of(module)) {
    ledger_.set(
        tensor, is_copy ? Fate::ignored : Fate::refused, targets,
        is_copy ? fmt::format("an exact copy of \"{}\", earlier in the file", name)
                : fmt::format("module defined twice; \"{}\", earlier in the file, is used", name));
  }
}

/// Gives the tensors of a bound module their fates, and counts it.
void Binder::account(const FileModule& module, const NameIndex::Entry& entry, const MadeDelta& made,
                     BindReport& report) {
  const Placement& placement = *entry.placement;
  const std::vector<std::string> targets = target_names(placement);
  const ModuleDelta& delta = *made.delta;
  for (const auto& [role, tensor] : tensors_of(module)) {
    if (std::ranges::find(made.unused, role) != made.unused.end()) {
      ledger_.set(tensor, Fate::refused, targets,
                  fmt::format("{} beside {} in one module: only {} is applied", to_string(role),
                              made.algorithm, made.algorithm));
    } else if (acts_on_bias(role) && !placement.has_bias) {
      ledger_.set(tensor, Fate::note, targets, "the layer has no bias: this part has no effect");
    } else if (delta.is_zero()) {
      ledger_.set(tensor, Fate::note, targets,
                  "no effect: its up matrix or its scale (alpha) is 0");
    } else {
      const std::string remark = delta.remark();
      ledger_.set(tensor, remark.empty() ? Fate::bound : Fate::note,
                  acts_on_bias(role) ? target_names(placement, true) : targets, remark);
    }
  }
  if (delta.rank() > 0) {
    report.min_rank = report.max_rank == 0 ? delta.rank() : std::min(report.min_rank, delta.rank());
    report.max_rank = std::max(report.max_rank, delta.rank());
  }
  const Target first = placement.pieces.front().target;
  if (module.tensors.contains(Role::set_bias) && taken_.contains({first, Part::weight}))
    return;  // counted already
  ++report.modules[components_[static_cast<std::size_t>(first.component)].name];
  ++report.algorithms[made.algorithm];
  if (std::ranges::find(report.dialects, entry.dialect) == report.dialects.end())
    report.dialects.emplace_back(entry.dialect);
}

void Binder::settle_leftovers(BoundAdapter& bound) {
  std::vector<std::pair<const std::string*, NameIndex::Parameter>> biases;
  for (const std::string& tensor : file_.unexplained()) {
    if (auto parameter = names_.find_parameter(tensor)) {
      if (parameter->is_bias) {
        biases.emplace_back(&tensor, std::move(*parameter));
      } else {
        bind_whole(tensor, *parameter, bound);
      }
    } else if (tensor.starts_with(kTrainingLeftovers)) {
      ledger_.set(tensor, Fate::ignored, {}, std::string(kLeftoverReason));
    } else {
      ledger_.set(tensor, Fate::refused, {}, "no adapter tensor ends like this");
    }
  }
  // After the weights of their layers, which they are no modules beside.
  for (const auto& [tensor, parameter] : biases) bind_whole(*tensor, parameter, bound);
  for (const BundledEmbedding& embedding : file_.embeddings()) {
    for (const auto& [inner, tensor] : embedding.tensors)
      ledger_.set(tensor, Fate::bound, {},
                  fmt::format("textual inversion \"{}\"", shortened(embedding.name)));
  }
  for (const Repeated& repeated : file_.repeated()) {
    const bool is_copy = same_bytes(file_, repeated.tensor, *repeated.first);
    const std::string first = shortened(*repeated.first);
    ledger_.set(
        repeated.tensor, is_copy ? Fate::ignored : Fate::refused, {},
        is_copy ? fmt::format("an exact copy of \"{}\"", first)
                : fmt::format("the same part of the same module as \"{}\", which is used", first));
  }
}

[[noreturn]] void fail_unbound(const AdapterFile& file, const BindReport& report) {
  const std::string name = file.path().filename().string();
  if (report.tensors.empty()) fail(ErrorKind::bad_file, "{} holds no tensors", name);
  const auto refused = std::ranges::find(report.tensors, Fate::refused, &TensorFate::fate);
  const TensorFate& first = refused == report.tensors.end() ? report.tensors.front() : *refused;
  // Some reasons are of a whole part of the model and begin with the tensor that decides.
  const bool names_a_tensor = first.reason.starts_with('"');
  fail(ErrorKind::mismatch, "{}: none of its {} tensors could be applied: {}{}", name,
       report.tensors.size(), names_a_tensor ? "" : fmt::format("\"{}\": ", shortened(first.name)),
       first.reason);
}

}  // namespace

std::string_view to_string(Fate fate) {
  switch (fate) {
    case Fate::bound:
      return "bound";
    case Fate::note:
      return "note";
    case Fate::ignored:
      return "ignored";
    case Fate::refused:
      return "refused";
  }
  return "?";
}

int BindReport::bound_modules() const {
  int sum = 0;
  for (const auto& [component, count] : modules) sum += count;
  return sum;
}

int BindReport::count(Fate fate) const {
  return static_cast<int>(std::ranges::count(tensors, fate, &TensorFate::fate));
}

std::string BindReport::summary() const {
  std::vector<std::string> parts, kinds;
  for (const auto& [component, count] : modules)
    parts.push_back(fmt::format("{} modules of {}", count, component));
  for (const auto& [algorithm, count] : algorithms) kinds.push_back(algorithm);
  if (max_rank > 0) {
    kinds.push_back(min_rank == max_rank ? fmt::format("rank {}", max_rank)
                                         : fmt::format("ranks {} to {}", min_rank, max_rank));
  }
  std::string text = fmt::format("{}: {}, {} ({})", file, fmt::join(parts, " and "),
                                 fmt::join(kinds, ", "), fmt::join(dialects, ", "));
  const int used = count(Fate::bound), total = static_cast<int>(tensors.size());
  if (used == total) return text + fmt::format("; all {} tensors bound", total);
  text += fmt::format("; {} of {} tensors bound", used, total);
  for (const Fate fate : {Fate::note, Fate::ignored, Fate::refused}) {
    if (count(fate) > 0)
      text += fmt::format(", {} {}", count(fate), fate == Fate::note ? "noted" : to_string(fate));
  }
  return text;
}

std::shared_ptr<BoundAdapter> bind_or_account(std::shared_ptr<const AdapterFile> file,
                                              std::span<const Component> components,
                                              const NameIndex& names) {
  const FamilyVerdict verdict = detect_family(*file);
  require_family(verdict, *file, components, names);
  auto bound = std::make_shared<BoundAdapter>();
  bound->report.file = file->path().filename().string();
  Binder(*file, components, names).run(*bound, verdict);
  bound->file = std::move(file);
  return bound;
}

std::shared_ptr<const BoundAdapter> bind(std::shared_ptr<const AdapterFile> file,
                                         std::span<const Component> components,
                                         const NameIndex& names) {
  auto bound = bind_or_account(std::move(file), components, names);
  if (bound->modules.empty()) fail_unbound(*bound->file, bound->report);
  return bound;
}

}  // namespace velatura::lora
