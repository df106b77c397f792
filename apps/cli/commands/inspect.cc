// velatura inspect: what a file is.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/cli/commands/commands.h"
#include "velatura/inspect.h"

namespace velatura::cli {

void add_inspect(CLI::App& app, std::stop_token) {
  struct Flags {
    std::filesystem::path file;
    bool json = false;
  };
  CLI::App* command = app.add_subcommand(
      "inspect",
      "say what a file is: model, adapter, embedding, upscaler, picture; its tensors and metadata");
  auto flags = std::make_shared<Flags>();
  command->add_option("file", flags->file, "FILE or diffusers folder")->required()->type_name("");
  command->add_flag("--json", flags->json, "print one JSON document to standard output");
  command->callback([flags] {
    const Inspection found = inspect(flags->file);
    fmt::print("{}\n", flags->json ? found.json : found.text);
  });
}

}  // namespace velatura::cli
