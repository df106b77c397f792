// velatura lora convert: one adapter file in the form that another program reads.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/cli/commands/lora.h"
#include "apps/cli/terminal/screen.h"
#include "velatura/error.h"
#include "velatura/lora_tools.h"

namespace velatura::cli {

namespace {

struct ConvertFlags {
  std::filesystem::path file, output;
  LoraConvertOptions options;
  bool overwrite = false, json = false;
};

void check_output(const ConvertFlags& flags) {
  std::error_code ignored;
  if (std::filesystem::is_directory(flags.output, ignored)) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("\"{}\" is a folder; name the .safetensors file to write",
                            flags.output.string()));
  }
  if (!flags.overwrite && std::filesystem::exists(flags.output, ignored)) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("\"{}\" exists; --overwrite replaces it", flags.output.string()));
  }
}

/// How far the computing is, on a terminal; gone when it ends, however it ends.
class LiveLine {
 public:
  ~LiveLine() {
    if (is_drawn_) fmt::print(stderr, "\r\x1b[K");
  }
  void show(std::size_t done, std::size_t total) {
    if (!terminal::is_terminal(stderr)) return;
    is_drawn_ = true;
    fmt::print(stderr, "\rcomputing: {} of {} modules …\x1b[K", done, total);
  }

 private:
  bool is_drawn_ = false;
};

LoraConversion convert(const ConvertFlags& flags, const std::stop_token& stop) {
  LiveLine line;
  LoraConvertOptions options = flags.options;
  options.on_progress = [&](std::size_t done, std::size_t total) { line.show(done, total); };
  return convert_lora(flags.file, flags.output, options, stop);
}

void run_convert(const ConvertFlags& flags, const std::stop_token& stop) {
  check_output(flags);
  const LoraConversion result = convert(flags, stop);
  if (flags.json) {
    fmt::print("{}\n", result.json);
    return;
  }
  fmt::print("{}: {} modules, {} tensors in {} form\n", flags.output.filename().string(),
             result.modules, result.tensors, flags.options.to);
  for (const std::string& note : result.notes) fmt::print("  {}\n", note);
}

}  // namespace

void add_lora_convert(CLI::App& group, std::stop_token stop) {
  CLI::App* command = group.add_subcommand(
      "convert",
      "write an adapter in the form that another program reads; metadata and alpha travel along, "
      "and a LoRA that comes back has the same bits");
  auto flags = std::make_shared<ConvertFlags>();
  LoraConvertOptions& options = flags->options;
  command->add_option("file", flags->file, "FILE  a path, or a name in the model folders")
      ->required()
      ->type_name("");
  command->add_option("output", flags->output, "OUTPUT  the .safetensors file to write")
      ->required()
      ->type_name("");
  command
      ->add_option("--to", options.to,
                   "FORM  kohya (A1111, Forge, kohya), diffusers (PEFT) or comfy (ComfyUI) "
                   "(default: kohya)")
      ->type_name("");
  command
      ->add_option("--type", options.type,
                   "TYPE  f32, f16 or bf16 for all tensors (default: as they are)")
      ->type_name("");
  command->add_flag("--fold-alpha", options.fold_alpha,
                    "multiply alpha / rank into the matrices and write no alpha");
  command->add_flag("--dense", options.dense,
                    "write kinds that the form cannot hold as full differences");
  command
      ->add_option("--rank", options.rank,
                   "N  write kinds that the form cannot hold as the nearest LoRA of rank N")
      ->check(CLI::Range(1, 4096))
      ->type_name("");
  command->add_flag("--drop-unknown", options.drop_unknown,
                    "leave out tensors that nothing explains, instead of refusing the file");
  add_lora_model_flags(
      *command, options.model,
      "MODEL  checkpoint, diffusers folder or name (default: the published model of "
      "the family that the file shows); kinds that depend on weights need it");
  command->add_flag("--overwrite", flags->overwrite, "replace OUTPUT where it exists");
  command->add_flag("--json", flags->json, "print one JSON document to standard output");
  command->callback([flags, stop = std::move(stop)] { run_convert(*flags, stop); });
}

}  // namespace velatura::cli
