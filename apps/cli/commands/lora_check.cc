// velatura lora check: what becomes of every tensor of adapter files.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string_view>

#include "apps/cli/commands/lora.h"
#include "velatura/error.h"
#include "velatura/lora_tools.h"

namespace velatura::cli {

namespace {

struct CheckFlags {
  std::vector<std::filesystem::path> files;
  LoraCheckOptions options;
  bool json = false, no_values = false;
};

/// Stable: 0 all bound, 1 bound with notes, 2 refused, 3 missing.
int exit_code(LoraCheck::Verdict verdict) {
  return static_cast<int>(verdict);
}

bool is_missing(const LoraCheck& check) {
  return check.verdict == LoraCheck::Verdict::missing;
}

/// Without a copy: the account of a million tensors has hundreds of megabytes.
void write(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void print_json(const std::vector<LoraCheck>& checks) {
  for (std::size_t i = 0; i < checks.size(); ++i) {
    if (checks.size() > 1) write(i == 0 ? "[\n" : ",\n");
    write(checks[i].json);
  }
  write(checks.size() > 1 ? "\n]\n" : "\n");
}

void print_text(const std::vector<LoraCheck>& checks) {
  bool is_first = true;
  for (const LoraCheck& check : checks) {
    if (is_missing(check)) continue;
    if (!is_first) write("\n");
    write(check.text);
    write("\n");
    is_first = false;
  }
}

void run_check(CheckFlags& flags, const std::stop_token& stop) {
  flags.options.values = !flags.no_values;
  flags.options.json = flags.json;
  flags.options.text = !flags.json;
  const std::vector<LoraCheck> checks = check_loras(flags.files, flags.options, stop);
  if (checks.size() == 1 && is_missing(checks.front()))
    throw Error(ErrorKind::not_found, checks.front().text);
  flags.json ? print_json(checks) : print_text(checks);
  for (const LoraCheck& check : checks) {
    if (is_missing(check)) fmt::print(stderr, "velatura: {}\n", check.text);
  }
  int worst = 0;
  for (const LoraCheck& check : checks) worst = std::max(worst, exit_code(check.verdict));
  if (worst != 0) throw CLI::RuntimeError(worst);
}

}  // namespace

void add_lora_check(CLI::App& group, std::stop_token stop) {
  CLI::App* command = group.add_subcommand(
      "check",
      "account for every tensor of a file: what binds where, what is strange, what other programs "
      "would do with it; exit code 0 all bound, 1 bound with notes, 2 refused, "
      "3 no such file; of several files the highest");
  auto flags = std::make_shared<CheckFlags>();
  command->add_option("files", flags->files, "FILE...  paths, or names in the model folders")
      ->required()
      ->type_name("");
  add_lora_model_flags(*command, flags->options.model,
                       "MODEL  checkpoint, diffusers folder or name to check against (default: the "
                       "published model of the family that the file shows)");
  command->add_flag(
      "--no-values", flags->no_values,
      "names, shapes and alphas alone: do not look for NaN, zeros and subnormal numbers");
  command->add_flag("--verbose", flags->options.verbose, "every module and every tensor");
  command->add_flag("--json", flags->json,
                    "print one JSON document to standard output; an array of several files");
  command->callback([flags, stop = std::move(stop)] { run_check(*flags, stop); });
}

}  // namespace velatura::cli
