#include "apps/cli/commands/engine_flags.h"

namespace velatura::cli {

void add_engine_flags(CLI::App& command, EngineOptions& options) {
  command
      .add_option(
          "--models", options.model_dirs,
          "DIR  a folder with models, read in place; other programs' layouts too (repeatable)")
      ->type_name("")
      ->allow_extra_args(false)
      ->group("Engine");
  command
      .add_option("--precision", options.precision,
                  "auto|f32|bf16  auto: bf16 where the CPU has it")
      ->type_name("")
      ->group("Engine");
  command.add_option("--backend", options.backend, "cpu|reference")->type_name("")->group("Engine");
  command.add_option("--threads", options.threads, "N  threads (default: all cores)")
      ->type_name("")
      ->check(CLI::Range(0, 1024))
      ->group("Engine");
}

}  // namespace velatura::cli
