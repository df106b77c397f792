#include "apps/cli/commands/commands.h"

namespace velatura::cli {

void add_commands(CLI::App& app, std::stop_token stop) {
  add_generate(app, stop);
  add_demo(app, stop);
  add_lora(app, stop);
  add_inspect(app, stop);
  add_bench(app, stop);
  add_doctor(app, stop);
}

}  // namespace velatura::cli
