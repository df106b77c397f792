#include "apps/cli/commands/lora.h"

#include <CLI/CLI.hpp>
#include <initializer_list>

#include "apps/cli/commands/commands.h"
#include "velatura/lora_tools.h"

namespace velatura::cli {

namespace {

/// Adds its command to the group.
using AddLoraCommand = void (*)(CLI::App& group, std::stop_token stop);

/// One line a command, in the order of `velatura lora --help`.
constexpr std::initializer_list<AddLoraCommand> kCommands = {
    add_lora_list, add_lora_info, add_lora_check, add_lora_compare, add_lora_convert};

}  // namespace

void add_lora_model_flags(CLI::App& command, LoraModel& model, const char* help) {
  command.add_option("--model", model.name, help)->type_name("");
  command
      .add_option("--models", model.model_dirs,
                  "DIR  a folder with models and adapters (repeatable)")
      ->type_name("")
      ->allow_extra_args(false);
}

void add_lora(CLI::App& app, std::stop_token stop) {
  CLI::App* group = app.add_subcommand("lora", "adapter files: list, examine, check, convert");
  group->require_subcommand(1);
  for (const AddLoraCommand add : kCommands) add(*group, stop);
}

}  // namespace velatura::cli
