// velatura lora info: the friendly page of an adapter file, with bars of where it acts.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "apps/cli/commands/lora.h"
#include "apps/cli/terminal/bars.h"
#include "apps/cli/terminal/screen.h"
#include "velatura/lora_tools.h"

namespace velatura::cli {

namespace {

struct InfoFlags {
  std::filesystem::path file;
  LoraModel model;
  bool json = false;
};

double strength_of(const LoraBlock& block, bool is_relative) {
  return is_relative ? block.relative : block.norm;
}

/// One line a block: name, bar, number. The bars fill what the window leaves.
void print_blocks(const LoraPage& page) {
  double strongest = 0;
  for (const LoraBlock& block : page.blocks)
    strongest = std::max(strongest, strength_of(block, page.is_relative));
  const bool several = std::ranges::any_of(page.blocks, [&](const LoraBlock& block) {
    return block.component != page.blocks.front().component;
  });
  std::size_t width = 0;
  const auto label = [&](const LoraBlock& block) {
    return several ? fmt::format("{} {}", block.component, block.name) : block.name;
  };
  for (const LoraBlock& block : page.blocks) width = std::max(width, label(block).size());
  constexpr int kNumbers = 26;  // columns behind a bar
  const int cells = std::clamp(
      terminal::screen_size(stdout).columns - static_cast<int>(width) - kNumbers - 4, 8, 60);
  const bool utf8 = terminal::shows_utf8(terminal::process_environment());
  fmt::print("\nblocks: {}\n",
             page.is_relative ? "norm of the change over the norm of the weights, at strength 1"
                              : "Frobenius norm of the change, at strength 1");
  for (const LoraBlock& block : page.blocks) {
    const double strength = strength_of(block, page.is_relative);
    const std::string number = page.is_relative ? fmt::format("{:.3g} %", 100 * strength)
                                                : fmt::format("{:.4g}", strength);
    fmt::print("  {:<{}} {} {:>9}  {:>4} layer{}\n", label(block), width,
               terminal::draw_bar(strongest > 0 ? strength / strongest : 0, cells, utf8), number,
               block.modules, block.modules == 1 ? "" : "s");
  }
}

void run_info(const InfoFlags& flags, const std::stop_token& stop) {
  const LoraPage page = describe_lora(flags.file, flags.model, stop);
  if (flags.json) {
    fmt::print("{}\n", page.json);
    return;
  }
  fmt::print("{}\n", page.text);
  if (!page.blocks.empty()) print_blocks(page);
  if (!page.remark.empty()) fmt::print("  {}\n", page.remark);
}

}  // namespace

void add_lora_info(CLI::App& group, std::stop_token stop) {
  CLI::App* command = group.add_subcommand(
      "info",
      "the page of an adapter: title, trigger words, recommended weight, hashes, training, and how "
      "strongly it acts on each block of the model");
  auto flags = std::make_shared<InfoFlags>();
  command->add_option("file", flags->file, "FILE  a path, or a name in the model folders")
      ->required()
      ->type_name("");
  add_lora_model_flags(
      *command, flags->model,
      "MODEL  checkpoint, diffusers folder or name: strengths relative to its weights");
  command->add_flag("--json", flags->json, "print one JSON document to standard output");
  command->callback([flags, stop = std::move(stop)] { run_info(*flags, stop); });
}

}  // namespace velatura::cli
