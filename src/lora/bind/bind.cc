#include "lora/bind/bind.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "lora/bind/family.h"

namespace velatura::lora {

namespace {

/// Collects the fates by tensor name; every tensor gets exactly one.
class Ledger {
 public:
  void set(const std::string& tensor, Fate fate, std::string target, std::string reason = {}) {
    fates_[tensor] = {tensor, std::move(target), fate, std::move(reason)};
  }
  std::vector<TensorFate> in_file_order(const AdapterFile& file) {
    std::vector<TensorFate> ordered;
    for (const weights::TensorInfo& info : file.source().tensors()) {
      VELATURA_CHECK(fates_.contains(info.name));
      ordered.push_back(std::move(fates_[info.name]));
    }
    return ordered;
  }

 private:
  std::map<std::string, TensorFate> fates_;
};

class Binder {
 public:
  Binder(const AdapterFile& file, std::span<const Component> components, const NameIndex& names)
      : file_(file), components_(components), names_(names) {}
  void run(BoundAdapter& bound);

 private:
  void bind_module(const FileModule& module, BoundAdapter& bound);
  bool is_computable(const FileModule& module, const Algorithm* algorithm,
                     const std::string& target);
  void drop_second(const FileModule& module, const std::string& target, const FileModule& first);
  bool compute(const FileModule& module, const Algorithm& algorithm, Target target,
               BoundAdapter& bound);
  void refuse(const FileModule& module, const std::string& target, const std::string& reason) {
    for (const auto& [role, tensor] : module.tensors)
      ledger_.set(tensor, Fate::refused, target, reason);
  }
  std::string unknown_name_reason(const FileModule& module);
  std::string target_name(Target target) const {
    const Component& component = components_[static_cast<std::size_t>(target.component)];
    return component.name + "." + component.tree->layer(target.layer).path + ".weight";
  }
  void settle_leftovers();

  const AdapterFile& file_;
  std::span<const Component> components_;
  const NameIndex& names_;
  Ledger ledger_;
  /// layer → the module of the file that has it
  std::map<std::pair<int, nn::LayerId>, const FileModule*> taken_;
  int searched_ = 0;
};

void Binder::run(BoundAdapter& bound) {
  for (const FileModule& module : file_.modules()) bind_module(module, bound);
  settle_leftovers();
  bound.report.tensors = ledger_.in_file_order(file_);
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
  const NameIndex::Entry* entry = names_.find(module.name);
  if (entry == nullptr) return refuse(module, "", unknown_name_reason(module));
  const std::string target = target_name(entry->target);
  const Algorithm* algorithm = find_algorithm(module);
  if (!is_computable(module, algorithm, target)) return;
  const auto key = std::pair(entry->target.component, entry->target.layer);
  const auto [at, fresh] = taken_.emplace(key, &module);
  if (!fresh) return drop_second(module, target, *at->second);
  if (!compute(module, *algorithm, entry->target, bound)) {
    taken_.erase(key);
    return;
  }
  if (std::ranges::find(bound.report.dialects, entry->dialect) == bound.report.dialects.end())
    bound.report.dialects.emplace_back(entry->dialect);
}

/// Whether this version can apply the module; gives its tensors their fates where it cannot.
bool Binder::is_computable(const FileModule& module, const Algorithm* algorithm,
                           const std::string& target) {
  if (algorithm == nullptr) {
    for (const auto& [role, tensor] : module.tensors) {
      if (role == Role::alpha) {
        ledger_.set(tensor, Fate::ignored, target, "an alpha without matrices has no effect");
      } else {
        ledger_.set(tensor, Fate::refused, target,
                    fmt::format("\"{}\" has its {} alone, the partner is missing", module.name,
                                to_string(role)));
      }
    }
    return false;
  }
  if (algorithm->make == nullptr) {
    refuse(module, target,
           fmt::format("{} is recognised, but this version cannot apply it", algorithm->name));
    return false;
  }
  for (const auto& [role, tensor] : module.tensors) {
    const auto is = [role = role](Role known) { return known == role; };
    if (std::ranges::any_of(algorithm->needs, is) || std::ranges::any_of(algorithm->accepts, is))
      continue;
    refuse(module, target,
           fmt::format("{} beside {} is recognised, but this version cannot apply it",
                       to_string(role), algorithm->name));
    return false;
  }
  return true;
}

/// Two spellings of one layer: a copy is dropped quietly, anything else is reported (lora-formats
/// §2.9).
void Binder::drop_second(const FileModule& module, const std::string& target,
                         const FileModule& first) {
  const bool is_copy =
      module.tensors.size() == first.tensors.size() &&
      std::ranges::all_of(module.tensors, [&](const auto& entry) {
        const auto other = first.tensors.find(entry.first);
        return other != first.tensors.end() && same_bytes(file_, entry.second, other->second);
      });
  for (const auto& [role, tensor] : module.tensors) {
    ledger_.set(tensor, is_copy ? Fate::ignored : Fate::refused, target,
                is_copy ? fmt::format("an exact copy of \"{}\", earlier in the file", first.name)
                        : fmt::format("module defined twice; \"{}\", earlier in the file, is used",
                                      first.name));
  }
}

/// Makes the module's delta and accounts for its tensors; false where they do not fit the layer.
bool Binder::compute(const FileModule& module, const Algorithm& algorithm, Target target,
                     BoundAdapter& bound) {
  const Component& component = components_[static_cast<std::size_t>(target.component)];
  const std::string name = target_name(target);
  std::shared_ptr<const ModuleDelta> delta;
  try {
    delta = algorithm.make(
        {.file = file_,
         .module = module,
         .layer = component.tree->layer(target.layer),
         .component = component.kind == ComponentKind::denoiser ? "unet" : "text_encoder"});
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::mismatch && error.kind() != ErrorKind::bad_file) throw;
    refuse(module, name, error.what());
    return false;
  }
  for (const auto& [role, tensor] : module.tensors) {
    ledger_.set(tensor, delta->is_zero() ? Fate::note : Fate::bound, name,
                delta->is_zero() ? "no effect: its up matrix or its scale (alpha) is 0" : "");
  }
  BindReport& report = bound.report;
  report.min_rank =
      report.bound_modules() == 0 ? delta->rank() : std::min(report.min_rank, delta->rank());
  report.max_rank = std::max(report.max_rank, delta->rank());
  ++report.modules[component.name];
  ++report.algorithms[std::string(algorithm.name)];
  bound.modules.push_back({.target = target, .delta = std::move(delta)});
  return true;
}

void Binder::settle_leftovers() {
  for (const std::string& tensor : file_.unexplained()) {
    ledger_.set(tensor, Fate::refused, "", "no adapter tensor ends like this");
  }
  for (const Repeated& repeated : file_.repeated()) {
    const bool is_copy = same_bytes(file_, repeated.tensor, repeated.first);
    ledger_.set(repeated.tensor, is_copy ? Fate::ignored : Fate::refused, "",
                is_copy ? fmt::format("an exact copy of \"{}\"", repeated.first)
                        : fmt::format("the same part of the same module as \"{}\", which is used",
                                      repeated.first));
  }
}

void require_our_family(const AdapterFile& file, std::span<const Component> components,
                        const NameIndex& names) {
  const std::string name = file.path().filename().string();
  if (const OtherFamily other = detect_other_family(file, components, names); !other.name.empty()) {
    fail(ErrorKind::mismatch,
         "{} was made for {} ({}), not for the loaded model: nothing was applied", name, other.name,
         other.evidence);
  }
  if (const std::string_view layout = nameless_layout(file); !layout.empty()) {
    fail(ErrorKind::unsupported, "{} has {}; this version cannot apply it", name, layout);
  }
}

[[noreturn]] void fail_unbound(const AdapterFile& file, const BindReport& report) {
  const std::string name = file.path().filename().string();
  if (report.tensors.empty()) fail(ErrorKind::bad_file, "{} holds no tensors", name);
  const auto refused = std::ranges::find(report.tensors, Fate::refused, &TensorFate::fate);
  const TensorFate& first = refused == report.tensors.end() ? report.tensors.front() : *refused;
  fail(ErrorKind::mismatch, "{}: none of its {} tensors could be applied; \"{}\": {}", name,
       report.tensors.size(), first.name, first.reason);
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
  const std::string rank = min_rank == max_rank ? fmt::format("rank {}", max_rank)
                                                : fmt::format("ranks {} to {}", min_rank, max_rank);
  std::string text = fmt::format("{}: {}, {}, {} ({})", file, fmt::join(parts, " and "),
                                 fmt::join(kinds, ", "), rank, fmt::join(dialects, ", "));
  const int used = count(Fate::bound), total = static_cast<int>(tensors.size());
  if (used == total) return text + fmt::format("; all {} tensors bound", total);
  text += fmt::format("; {} of {} tensors bound", used, total);
  for (const Fate fate : {Fate::note, Fate::ignored, Fate::refused}) {
    if (count(fate) > 0)
      text += fmt::format(", {} {}", count(fate), fate == Fate::note ? "noted" : to_string(fate));
  }
  return text;
}

std::shared_ptr<const BoundAdapter> bind(std::shared_ptr<const AdapterFile> file,
                                         std::span<const Component> components,
                                         const NameIndex& names) {
  require_our_family(*file, components, names);
  auto bound = std::make_shared<BoundAdapter>();
  bound->report.file = file->path().filename().string();
  Binder(*file, components, names).run(*bound);
  if (bound->modules.empty()) fail_unbound(*file, bound->report);
  bound->file = std::move(file);
  return bound;
}

}  // namespace velatura::lora
