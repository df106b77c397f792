// velatura doctor: what this machine offers and what will be used.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/cli/commands/commands.h"
#include "velatura/inspect.h"

namespace velatura::cli {

void add_doctor(CLI::App& app, std::stop_token) {
  struct Flags {
    std::vector<std::filesystem::path> models;
    bool json = false;
  };
  CLI::App* command =
      app.add_subcommand("doctor", "say what this machine offers and what Velatura will use");
  auto flags = std::make_shared<Flags>();
  command->add_option("--models", flags->models, "DIR  a folder with models (repeatable)")
      ->type_name("")
      ->allow_extra_args(false);
  command->add_flag("--json", flags->json, "print one JSON document to standard output");
  command->callback([flags] {
    const Inspection found = doctor(flags->models);
    fmt::print("{}\n", flags->json ? found.json : found.text);
  });
}

}  // namespace velatura::cli
