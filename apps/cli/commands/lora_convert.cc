// velatura lora convert: one adapter file in the form that another program reads.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "apps/cli/commands/lora.h"
#include "velatura/lora_tools.h"

namespace velatura::cli {

namespace {

struct ConvertFlags {
  std::filesystem::path file, output;
  LoraConvertOptions options;
  bool overwrite = false;
};

void run_convert(const ConvertFlags& flags) {
  if (!flags.overwrite && std::filesystem::exists(flags.output)) {
    throw CLI::ValidationError(
        fmt::format("\"{}\" exists; --overwrite replaces it", flags.output.string()));
  }
  const LoraConversion result = convert_lora(flags.file, flags.output, flags.options);
  fmt::print("{}: {} modules, {} tensors in {} form\n", flags.output.filename().string(),
             result.modules, result.tensors, flags.options.to);
  for (const std::string& note : result.notes) fmt::print("  {}\n", note);
}

}  // namespace

void add_lora_convert(CLI::App& group, std::stop_token) {
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
  command->callback([flags] { run_convert(*flags); });
}

}  // namespace velatura::cli
