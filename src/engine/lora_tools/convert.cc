// Converting an adapter file: which model's names it is read with, and writing what comes of it.
#include "lora/tools/convert.h"

#include <fmt/format.h>

#include "base/error.h"
#include "engine/lora_tools/model_names.h"

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

}  // namespace

LoraConversion convert_lora(const fs::path& file, const fs::path& output,
                            const LoraConvertOptions& options) {
  const lora::tools::ConvertOptions how = parse(options);
  if (output.extension() != ".safetensors") {
    fail(ErrorKind::invalid_argument, "\"{}\" is written as safetensors: name it .safetensors",
         output.string());
  }
  const auto adapter = lora::AdapterFile::open(engine::find_adapter(file, options.model));
  const lora::tools::Account account = lora::tools::account_for(
      adapter, engine::names_for(*adapter, options.model, "converted"), false);
  const lora::tools::Conversion result = lora::tools::convert(account, how);
  weights::write_safetensors(output, result.tensors, result.metadata);
  return {.modules = result.modules,
          .tensors = static_cast<int>(result.tensors.size()),
          .notes = result.notes};
}

}  // namespace velatura
