// velatura bench: the machine's ceiling and the work's share of it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/cli/commands/commands.h"
#include "velatura/bench.h"

namespace velatura::cli {

void add_bench(CLI::App& app, std::stop_token) {
  struct Flags {
    BenchRequest request;
    bool json = false;
  };
  CLI::App* command = app.add_subcommand(
      "bench",
      "measure the machine's ceiling, then parts of the work with synthetic full-size weights");
  auto flags = std::make_shared<Flags>();
  flags->request.what = "ceiling";
  command->add_option("what", flags->request.what, "ceiling (default), sd15, lora or library")
      ->type_name("");
  command->add_option("--size", flags->request.size, "N  pixels of a side (default 512)")
      ->type_name("")
      ->check(CLI::Range(64, 4096));
  command
      ->add_option(
          "--part", flags->request.parts,
          "NAME  this part only (repeatable): unet_step vae_decode vae_encode text_encoder "
          "lora_1_overhead lora_8_overhead strength_change switch_set start peak_memory; of lora: "
          "these four and lokr_overhead locon_overhead pictures_overhead first_use")
      ->type_name("")
      ->allow_extra_args(false);
  command
      ->add_option("--files", flags->request.files,
                   "N  adapter files that library generates (default 30000)")
      ->type_name("");
  command->add_option("--folders", flags->request.folders, "N  in so many folders (default 300)")
      ->type_name("");
  command->add_option("--precision", flags->request.precision, "auto|f32|bf16")->type_name("");
  command->add_option("--backend", flags->request.backend, "cpu|reference")->type_name("");
  command->add_option("--threads", flags->request.threads, "N  threads (default: all cores)")
      ->type_name("")
      ->check(CLI::Range(0, 1024));
  command->add_flag("--json", flags->json, "print one JSON document to standard output");
  command->callback([flags] {
    const BenchReport report = bench(flags->request, [&](const BenchPart& part) {
      if (!flags->json) fmt::print(stderr, "{} …\n", part.name);
    });
    fmt::print("{}\n", flags->json ? to_json(report) : to_table(report));
  });
}

}  // namespace velatura::cli
