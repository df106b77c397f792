#include "lora/tools/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/text.h"

namespace velatura::lora::tools {

namespace {

/// Of one tensor, when it is said of all.
constexpr std::size_t kLongestReason = 1000;

void refuse_all(Account& account, std::string reason) {
  account.refusal = std::move(reason);
  account.report = {};
  account.report.file = account.file;
  if (!account.source) return;
  for (const weights::TensorInfo& info : account.source->source().tensors()) {
    account.report.tensors.push_back(
        {.name = info.name, .targets = {}, .fate = Fate::refused, .reason = account.refusal});
  }
}

void take_verdict(Account& account) {
  const FamilyVerdict verdict = detect_family(*account.source);
  account.family = verdict.id;
  account.evidence = verdict.evidence;
  if (verdict.id.empty() || !verdict.is_adapter) account.foreign = verdict.name;
}

/// "none of its 4 tensors could be applied: \"x\": …"
std::string why_nothing(const BindReport& report) {
  if (report.tensors.empty()) return "it holds no tensors";
  const auto refused = std::ranges::find(report.tensors, Fate::refused, &TensorFate::fate);
  const TensorFate& first = refused == report.tensors.end() ? report.tensors.front() : *refused;
  // Some reasons are of a whole part of the model and begin with the tensor that decides.
  const bool names_a_tensor = first.reason.starts_with('"');
  return fmt::format("none of its {} tensors could be applied: {}{}", report.tensors.size(),
                     names_a_tensor ? "" : fmt::format("\"{}\": ", shortened(first.name)),
                     shortened(first.reason, kLongestReason));
}

bool is_about_file(const Error& error) {
  return error.kind() == ErrorKind::mismatch || error.kind() == ErrorKind::bad_file ||
         error.kind() == ErrorKind::unsupported;
}

void bind_it(Account& account) {
  const ModelNames& model = *account.names;
  try {
    const auto bound = bind_or_account(account.source, model.components, *model.index);
    account.report = std::move(bound->report);
    account.bound = bound;
  } catch (const Error& error) {
    if (!is_about_file(error)) throw;
    return refuse_all(account, error.what());
  }
  account.family = model.family;
  account.foreign.clear();
  if (account.bound->modules.empty()) account.refusal = why_nothing(account.report);
}

}  // namespace

bool Account::is_clean() const {
  return refusal.empty() && report.count(Fate::bound) == static_cast<int>(report.tensors.size()) &&
         std::ranges::none_of(findings, &Finding::is_warning);
}

Account account_for(std::shared_ptr<const AdapterFile> file,
                    std::shared_ptr<const ModelNames> model, bool look_at_values,
                    const StopToken& stop) {
  throw_if_stopped(stop);
  Account account;
  account.file = file->path().filename().string();
  account.source = std::move(file);
  account.names = std::move(model);
  account.model = account.names->title;
  take_verdict(account);
  bind_it(account);
  account.modules = view_modules(*account.source, account.report, account.bound.get(),
                                 account.names->components, *account.names->index);
  std::vector<TensorValues> values;
  if (look_at_values) values = scan_values(account.source->source(), stop);
  account.findings = find_oddities({.file = *account.source,
                                    .family = account.family,
                                    .modules = account.modules,
                                    .values = look_at_values ? &values : nullptr});
  account.programs = judge_programs(*account.source, account.family, account.modules);
  return account;
}

int fitting_modules(std::shared_ptr<const AdapterFile> file, const ModelNames& model) {
  try {
    return bind_or_account(std::move(file), model.components, *model.index)->report.bound_modules();
  } catch (const Error& error) {
    if (!is_about_file(error)) throw;
    return 0;
  }
}

void forget_zeros(Account& account) {
  const auto is_noted = [](const auto& seen) {
    return seen.fate == Fate::note && seen.reason.starts_with("no effect");
  };
  std::set<std::string_view> zero;
  for (ModuleView& module : account.modules) {
    const bool is_dead = !module.layers.empty() && module.alpha != 0.0 &&
                         std::ranges::all_of(module.layers, [](const auto* layer) {
                           return layer->delta->is_zero();
                         });
    if (!is_dead) continue;
    for (const auto& [role, tensor] : module.tensors) zero.insert(tensor);
    if (!is_noted(module)) continue;
    module.fate = Fate::bound;
    module.reason.clear();
  }
  for (TensorFate& tensor : account.report.tensors) {
    if (!is_noted(tensor) || !zero.contains(tensor.name)) continue;
    tensor.fate = Fate::bound;
    tensor.reason.clear();
  }
  std::erase_if(account.findings, [](const Finding& finding) {
    return finding.code == "no-effect" || finding.code == "dead-modules";
  });
}

Account account_of_refused(std::shared_ptr<const AdapterFile> source, std::string file_name,
                           std::string reason) {
  Account account;
  account.file = std::move(file_name);
  account.source = std::move(source);
  if (account.source) take_verdict(account);
  refuse_all(account, std::move(reason));
  return account;
}

}  // namespace velatura::lora::tools
