#include "lora/tools/check_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "lora/library/clean_text.h"
#include "lora/tools/json_text.h"

namespace velatura::lora::tools {

namespace {

constexpr std::size_t kLongestName = 160;
constexpr std::size_t kLongestReason = 600;

std::string shown(std::string_view name) {
  return library::clean_line(name, kLongestName);
}

std::string in_quotes(std::string_view name) {
  return '"' + shown(name) + '"';
}

std::string counted(std::int64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

/// "LoRA", "LoRA, convolution", "LoKr".
std::string kind_of(const ModuleView& module) {
  const bool is_convolution = module.placement != nullptr &&
                              module.placement->kind == nn::LayerKind::conv2d &&
                              module.placement->weight[2] * module.placement->weight[3] > 1;
  return module.algorithm + (is_convolution ? " on k×k convolutions" : "");
}

std::string rank_of(const ModuleView& module) {
  if (module.scaled_rank() > 0) return fmt::format("rank {}", module.rank);
  if (module.rank > 0) return counted(module.rank, "block");
  return module.has(Role::lokr_w1) ? "full matrices" : "";
}

struct Group {
  std::string kind, rank;
  int count = 0;
  double smallest = 0, largest = 0;  ///< α / rank
  bool has_alpha = false;
};

/// Kind and rank, the most frequent first.
std::vector<Group> groups_of(const Account& account) {
  std::map<std::pair<std::string, std::string>, Group> groups;
  for (const ModuleView& module : account.modules) {
    if (!module.is_used()) continue;
    Group& group = groups[{kind_of(module), rank_of(module)}];
    group.kind = kind_of(module);
    group.rank = rank_of(module);
    ++group.count;
    if (!module.alpha || module.scaled_rank() == 0) continue;
    const double ratio = *module.alpha / static_cast<double>(module.rank);
    group.smallest = group.has_alpha ? std::min(group.smallest, ratio) : ratio;
    group.largest = group.has_alpha ? std::max(group.largest, ratio) : ratio;
    group.has_alpha = true;
  }
  std::vector<Group> ordered;
  for (auto& [key, group] : groups) ordered.push_back(std::move(group));
  std::ranges::stable_sort(ordered, std::greater{}, &Group::count);
  return ordered;
}

void write_head(const Account& account, std::string& text) {
  const std::string_view family =
      account.family.empty() ? std::string_view(account.foreign) : family_title(account.family);
  text += fmt::format("{}: {}\n", shown(account.file),
                      !account.refusal.empty() ? "nothing of it can be used"
                      : account.is_clean()     ? "all bound"
                                               : "bound, with notes");
  const auto line = [&](std::string_view label, const std::string& value) {
    if (!value.empty()) text += fmt::format("  {:<12}{}\n", label, value);
  };
  line("family", shown(family));
  line("told by", library::clean_line(account.evidence, kLongestReason));
  if (!account.refusal.empty()) {
    line("refused", library::clean_line(account.refusal, kLongestReason));
  }
  if (account.refusal.empty()) line("checked on", account.model);
  line("remark", account.report.remark);
  line("dialects", fmt::format("{}", fmt::join(account.report.dialects, ", ")));
  std::vector<std::string> parts;
  for (const auto& [component, count] : account.report.modules)
    parts.push_back(fmt::format("{} of {}", count, component));
  if (!parts.empty()) {
    line("modules", fmt::format("{}: {}", account.report.bound_modules(), fmt::join(parts, ", ")));
  }
  std::vector<std::string> fates;
  for (const Fate fate : {Fate::bound, Fate::note, Fate::ignored, Fate::refused}) {
    if (const int count = account.report.count(fate); count > 0)
      fates.push_back(fmt::format("{} {}", count, fate == Fate::note ? "noted" : to_string(fate)));
  }
  line("tensors", fmt::format("{}{}{}", account.report.tensors.size(), fates.empty() ? "" : ": ",
                              fmt::join(fates, ", ")));
}

void write_groups(const Account& account, std::string& text) {
  const std::vector<Group> groups = groups_of(account);
  if (groups.empty()) return;
  text += "\nalgorithms\n";
  for (const Group& group : groups) {
    text += fmt::format("  {:>5} x  {}{}{}", group.count, group.kind,
                        group.rank.empty() ? "" : ", ", group.rank);
    if (group.has_alpha && group.smallest == group.largest) {
      text += fmt::format(", alpha/rank {:.4g}", group.largest);
    } else if (group.has_alpha) {
      text += fmt::format(", alpha/rank {:.4g} to {:.4g}", group.smallest, group.largest);
    }
    text += '\n';
  }
}

void write_modules(const Account& account, std::string& text) {
  text += "\nmodules\n";
  for (const ModuleView& module : account.modules) {
    text += fmt::format("  {:<8}{}", to_string(module.fate), shown(module.name));
    if (module.placement != nullptr && module.component != nullptr)
      text += fmt::format(" -> {}.{}", module.component->name, module.placement->path);
    if (!module.algorithm.empty()) text += ", " + kind_of(module);
    if (const std::string rank = rank_of(module); !rank.empty()) text += ", " + rank;
    if (module.alpha) text += fmt::format(", alpha {:.6g}", *module.alpha);
    if (!module.dialect.empty()) text += " (" + module.dialect + ")";
    text += '\n';
  }
}

void write_findings(const Account& account, std::string& text) {
  if (account.findings.empty()) return;
  text += "\nfindings\n";
  for (const Finding& finding : account.findings)
    text += fmt::format("  {} {}\n", finding.is_warning ? '!' : '-',
                        library::clean_line(finding.text, kLongestReason));
}

void write_programs(const Account& account, std::string& text) {
  if (account.programs.empty()) return;
  text += "\nother programs (from their sources and reports; versions differ)\n";
  for (const ProgramVerdict& program : account.programs) {
    text += fmt::format("  {:<22}{}\n", program.program, program.summary());
    for (const ProgramRemark& remark : program.remarks) {
      const std::string what = remark.effect == Effect::refused
                                   ? std::string("refused")
                                   : fmt::format("{} {}", remark.modules, to_string(remark.effect));
      text += fmt::format("      {}: {} [{}]\n", what, remark.reason, remark.source);
    }
  }
}

/// Tensors that are not plainly bound, by fate and reason; each, where all are asked for.
void write_tensors(const Account& account, bool verbose, std::string& text) {
  if (verbose) {
    text += "\ntensors\n";
    for (const TensorFate& fate : account.report.tensors) {
      text += fmt::format("  {:<8}{}", to_string(fate.fate), shown(fate.name));
      if (!fate.targets.empty()) text += fmt::format(" -> {}", fmt::join(fate.targets, ", "));
      if (!fate.reason.empty()) text += ": " + library::clean_line(fate.reason, kLongestReason);
      text += '\n';
    }
    return;
  }
  if (!account.refusal.empty()) return;
  std::map<std::pair<Fate, std::string_view>, std::vector<const TensorFate*>> groups;
  for (const TensorFate& fate : account.report.tensors) {
    if (fate.fate != Fate::bound || !fate.reason.empty())
      groups[{fate.fate, fate.reason}].push_back(&fate);
  }
  if (groups.empty()) return;
  constexpr std::size_t kMostGroups = 12;
  text += "\nnot plainly bound (--verbose: all tensors)\n";
  std::size_t written = 0;
  for (const auto& [key, tensors] : groups) {
    if (++written > kMostGroups) {
      text += fmt::format("  … and {} more reasons\n", groups.size() - kMostGroups);
      return;
    }
    text += fmt::format("  {}, {}: {}\n      {}{}\n",
                        counted(static_cast<int>(tensors.size()), "tensor"), to_string(key.first),
                        library::clean_line(key.second, kLongestReason),
                        in_quotes(tensors.front()->name), tensors.size() > 1 ? " …" : "");
  }
}

using Json = nlohmann::ordered_json;

Json or_null(const std::string& text) {
  return text.empty() ? Json() : Json(text);
}

void write_tensors(const Account& account, JsonText& json) {
  json.key("tensors");
  json.begin('[');
  for (const TensorFate& fate : account.report.tensors) {
    json.begin('{');
    json.text("name", fate.name);
    json.strings("target", fate.targets);
    json.text("fate", to_string(fate.fate));
    json.text("reason", fate.reason);
    json.end('}');
  }
  json.end(']');
}

void write_modules(const Account& account, JsonText& json) {
  json.key("module_list");
  json.begin('[');
  for (const ModuleView& module : account.modules) {
    json.begin('{');
    json.text("name", module.name);
    json.text("algorithm", module.algorithm);
    json.field("rank", Json(module.rank));
    json.field("alpha", module.alpha ? Json(*module.alpha) : Json());
    json.text("dialect", module.dialect);
    json.text("fate", to_string(module.fate));
    json.end('}');
  }
  json.end(']');
}

void write_findings(const Account& account, JsonText& json) {
  json.key("findings");
  json.begin('[');
  for (const Finding& finding : account.findings) {
    json.begin('{');
    json.text("code", finding.code);
    json.field("warning", Json(finding.is_warning));
    json.text("text", finding.text);
    json.strings("names", finding.names);
    json.end('}');
  }
  json.end(']');
}

Json programs_json(const Account& account) {
  Json list = Json::array();
  for (const ProgramVerdict& program : account.programs) {
    Json remarks = Json::array();
    for (const ProgramRemark& remark : program.remarks) {
      remarks.push_back({{"effect", to_string(remark.effect)},
                         {"modules", remark.modules},
                         {"reason", remark.reason},
                         {"source", remark.source}});
    }
    list.push_back({{"program", program.program},
                    {"summary", program.summary()},
                    {"loaded", program.loaded},
                    {"lost", program.lost},
                    {"remarks", std::move(remarks)}});
  }
  return list;
}

}  // namespace

std::vector<std::string> kinds_of(const Account& account) {
  std::vector<std::string> kinds;
  for (const Group& group : groups_of(account)) {
    kinds.push_back(fmt::format("{}{}{} ({})", group.kind, group.rank.empty() ? "" : " ",
                                group.rank, counted(group.count, "module")));
  }
  return kinds;
}

std::string to_text(const Account& account, bool verbose) {
  std::string text;
  write_head(account, text);
  write_groups(account, text);
  if (verbose) write_modules(account, text);
  write_findings(account, text);
  write_tensors(account, verbose, text);
  write_programs(account, text);
  text.pop_back();  // the last line end
  return text;
}

std::string to_json(const Account& account) {
  const BindReport& report = account.report;
  JsonText json;
  json.begin('{');
  json.field("family", or_null(account.family));
  json.strings("dialect", report.dialects);
  json.field("modules", Json(report.bound_modules()));
  write_tensors(account, json);
  json.text("file", account.file);
  json.field("foreign", or_null(account.foreign));
  json.text("evidence", account.evidence);
  json.text("model", account.model);
  json.text("refusal", account.refusal);
  json.text("remark", report.remark);
  json.field("components", Json(report.modules));
  json.field("algorithms", Json(report.algorithms));
  json.field("ranks", Json{report.min_rank, report.max_rank});
  write_modules(account, json);
  write_findings(account, json);
  json.field("programs", programs_json(account));
  json.end('}');
  return json.take();
}

}  // namespace velatura::lora::tools
