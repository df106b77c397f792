// Converting an adapter file: which model's names it is read with, and writing what comes of it.
#include "lora/tools/convert.h"

#include <fmt/format.h>

#include "base/error.h"
#include "engine/lora_tools/model_names.h"
#include "lora/bind/family.h"

namespace velatura {

namespace fs = std::filesystem;

namespace {

DType parse_type(const std::string& word) {
  for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
    if (word == to_string(type)) return type;
  }
  fail(ErrorKind::invalid_argument, "\"{}\" is no type to convert to: f32, f16, bf16", word);
}

lora::tools::ConvertOptions parse(const LoraConvertOptions& options) {
  const auto form = lora::tools::parse_form(options.to);
  if (!form) {
    fail(ErrorKind::invalid_argument, "\"{}\" is no form of adapter files: kohya, diffusers, comfy",
         options.to);
  }
  return {.form = *form,
          .type = options.type.empty() ? std::nullopt : std::optional(parse_type(options.type)),
          .fold_alpha = options.fold_alpha,
          .dense = options.dense,
          .rank = options.rank,
          .drop_unknown = options.drop_unknown};
}

lora::tools::Account account_to_convert(const fs::path& file, const LoraModel& model) {
  const auto adapter = lora::AdapterFile::open(engine::find_adapter(file, model));
  if (!model.name.empty()) return lora::tools::account_for(adapter, engine::names_of(model), false);
  const lora::FamilyVerdict verdict = lora::detect_family(*adapter);
  const std::string name = adapter->path().filename().string();
  if (!verdict.is_adapter || (verdict.id.empty() && !verdict.name.empty())) {
    fail(ErrorKind::mismatch,
         "{} is {}{} ({}); adapters of SD1.5, SDXL, FLUX.1 and Z-Image can be "
         "converted",
         name, verdict.is_adapter ? "an adapter of " : "no adapter but ", verdict.name,
         verdict.evidence);
  }
  if (verdict.id.empty())
    fail(ErrorKind::mismatch, "nothing in {} shows which model it is for: give --model", name);
  return lora::tools::account_for(adapter, engine::published_names(verdict.id), false);
}

}  // namespace

LoraConversion convert_lora(const fs::path& file, const fs::path& output,
                            const LoraConvertOptions& options) {
  const lora::tools::ConvertOptions how = parse(options);
  if (output.extension() != ".safetensors") {
    fail(ErrorKind::invalid_argument, "\"{}\" is written as safetensors: name it .safetensors",
         output.string());
  }
  const lora::tools::Account account = account_to_convert(file, options.model);
  const lora::tools::Conversion result = lora::tools::convert(account, how);
  weights::write_safetensors(output, result.tensors, result.metadata);
  return {.modules = result.modules,
          .tensors = static_cast<int>(result.tensors.size()),
          .notes = result.notes};
}

}  // namespace velatura
