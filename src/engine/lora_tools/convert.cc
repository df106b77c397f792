// Converting an adapter file: which model's names it is read with, and writing what comes of it.
#include "lora/tools/convert.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/stop_token.h"
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

/// A file made for another model than the published one, with the command that names it.
void refuse_misfit(const lora::tools::Account& account, const std::vector<std::string>& words,
                   const LoraConvertOptions& options) {
  if (!account.source || account.refusal.empty() || !options.model.name.empty()) return;
  const std::string hint = engine::hint_at_model(*account.source, options.model, words);
  if (hint.empty()) return;
  fail(ErrorKind::mismatch, "nothing of {} fits {}: {}; {}", account.file, account.model,
       account.refusal, hint);
}

}  // namespace

LoraConversion convert_lora(const fs::path& file, const fs::path& output,
                            const LoraConvertOptions& options, std::stop_token stop) {
  const lora::tools::ConvertOptions how = parse(options);
  if (output.extension() != ".safetensors") {
    fail(ErrorKind::invalid_argument, "\"{}\" is written as safetensors: name it .safetensors",
         output.string());
  }
  const auto adapter = lora::AdapterFile::open(engine::find_adapter(file, options.model));
  const lora::tools::Account account = lora::tools::account_for(
      adapter, engine::names_for(*adapter, options.model, "converted"), false);
  refuse_misfit(account, {"convert", file.string(), output.string()}, options);
  lora::tools::Conversion result =
      lora::tools::convert(account, how, {.stop = stop, .on_progress = options.on_progress});
  if ((how.dense || how.rank > 0) && result.substituted == 0) {
    result.notes.push_back(
        fmt::format("all modules are left as they are: the {} form holds them, and {} is for what "
                    "it cannot hold",
                    lora::tools::to_string(how.form), how.dense ? "--dense" : "--rank"));
  }
  throw_if_stopped(stop);
  weights::write_safetensors(output, result.tensors, result.metadata);
  LoraConversion done{.modules = result.modules,
                      .tensors = static_cast<int>(result.tensors.size()),
                      .notes = result.notes,
                      .json = {}};
  done.json = nlohmann::ordered_json{{"file", output.filename().string()},
                                     {"form", lora::tools::to_string(how.form)},
                                     {"modules", done.modules},
                                     {"tensors", done.tensors},
                                     {"notes", done.notes}}
                  .dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  return done;
}

}  // namespace velatura
