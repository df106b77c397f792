#include "lora/bind/bind.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "base/error.h"

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
  void compute(const FileModule& module, const Algorithm& algorithm, Target target,
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
  std::map<std::pair<int, nn::LayerId>, std::string>
      taken_;  ///< layer → module of the file that has it
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
    return;
  }
  if (algorithm->make == nullptr) {
    return refuse(
        module, target,
        fmt::format("{} is recognised, but this version cannot apply it", algorithm->name));
  }
  for (const auto& [role, tensor] : module.tensors) {
    const auto is = [role = role](Role known) { return known == role; };
    if (std::ranges::none_of(algorithm->needs, is) &&
        std::ranges::none_of(algorithm->accepts, is)) {
      return refuse(module, target,
                    fmt::format("{} beside {} is recognised, but this version cannot apply it",
                                to_string(role), algorithm->name));
    }
  }
  const auto key = std::pair(entry->target.component, entry->target.layer);
  const auto [at, fresh] = taken_.emplace(key, module.name);
  if (!fresh)
    return refuse(
        module, target,
        fmt::format("module defined twice; \"{}\", earlier in the file, is used", at->second));
  compute(module, *algorithm, entry->target, bound);
  if (bound.modules.empty() || bound.modules.back().target.layer != entry->target.layer) return;
  if (std::ranges::find(bound.report.dialects, entry->dialect) == bound.report.dialects.end()) {
    bound.report.dialects.emplace_back(entry->dialect);
  }
}

void Binder::compute(const FileModule& module, const Algorithm& algorithm, Target target,
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
    taken_.erase({target.component, target.layer});
    return refuse(module, name, error.what());
  }
  const bool silent = delta->thin() != nullptr && delta->thin()->scale == 0.0f;
  for (const auto& [role, tensor] : module.tensors) {
    ledger_.set(tensor, silent ? Fate::note : Fate::bound, name,
                silent ? "the stored alpha is 0: no effect" : "");
  }
  BindReport& report = bound.report;
  report.min_rank =
      report.bound_modules() == 0 ? delta->rank() : std::min(report.min_rank, delta->rank());
  report.max_rank = std::max(report.max_rank, delta->rank());
  ++report.modules[component.name];
  ++report.algorithms[std::string(algorithm.name)];
  bound.modules.push_back({.target = target, .delta = std::move(delta)});
}

void Binder::settle_leftovers() {
  for (const std::string& tensor : file_.unexplained()) {
    ledger_.set(tensor, Fate::refused, "", "no adapter tensor ends like this");
  }
  for (const std::string& tensor : file_.duplicated()) {
    ledger_.set(tensor, Fate::refused, "",
                "the same part of the same module is given twice; the first is used");
  }
}

[[noreturn]] void fail_unbound(const AdapterFile& file, const BindReport& report) {
  const std::string name = file.path().filename().string();
  if (const OtherFamily other = detect_other_family(file); !other.name.empty()) {
    fail(ErrorKind::mismatch,
         "{} was made for {} ({}); the loaded model is another: nothing was applied", name,
         other.name, other.evidence);
  }
  if (report.tensors.empty()) fail(ErrorKind::bad_file, "{} holds no tensors", name);
  const TensorFate& first = report.tensors.front();
  fail(ErrorKind::mismatch, "{}: none of its {} tensors could be applied; the first, \"{}\": {}",
       name, report.tensors.size(), first.name, first.reason);
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
  auto bound = std::make_shared<BoundAdapter>();
  bound->report.file = file->path().filename().string();
  Binder(*file, components, names).run(*bound);
  if (bound->modules.empty()) fail_unbound(*file, bound->report);
  bound->file = std::move(file);
  return bound;
}

}  // namespace velatura::lora
