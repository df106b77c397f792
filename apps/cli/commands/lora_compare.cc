// velatura lora compare: what several adapters do to the layers they share.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/cli/commands/lora.h"
#include "velatura/lora_tools.h"

namespace velatura::cli {

namespace {

struct CompareFlags {
  std::vector<std::filesystem::path> files;
  LoraCompareOptions options;
  bool json = false;
};

void run_compare(const CompareFlags& flags, const std::stop_token& stop) {
  const LoraComparison comparison = compare_loras(flags.files, flags.options, stop);
  fmt::print("{}\n", flags.json ? comparison.json : comparison.text);
}

}  // namespace

void add_lora_compare(CLI::App& group, std::stop_token stop) {
  CLI::App* command = group.add_subcommand(
      "compare",
      "what adapters do to the layers they share: each one's share of the energy, the cosine of "
      "their changes, and where they pull against each other");
  auto flags = std::make_shared<CompareFlags>();
  command->add_option("files", flags->files, "A B...  paths, or names in the model folders")
      ->required()
      ->expected(2, -1)
      ->type_name("");
  add_lora_model_flags(
      *command, flags->options.model,
      "MODEL  checkpoint, diffusers folder or name (default: the published model of "
      "the family that the files show); kinds that depend on weights need it");
  command->add_flag("--verbose", flags->options.verbose, "every layer");
  command->add_flag("--json", flags->json, "print one JSON document to standard output");
  command->callback([flags, stop = std::move(stop)] { run_compare(*flags, stop); });
}

}  // namespace velatura::cli
