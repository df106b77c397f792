// velatura generate: pictures from a request. The flags are the rows of request_fields().
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/cli/commands/commands.h"
#include "apps/cli/commands/engine_flags.h"
#include "apps/cli/terminal/preview.h"
#include "apps/cli/terminal/progress_line.h"
#include "velatura/engine.h"
#include "velatura/error.h"
#include "velatura/request_fields.h"

namespace velatura::cli {

namespace {

namespace fs = std::filesystem;

struct GenerateFlags {
  std::vector<std::pair<const RequestField*, std::string>> fields;  ///< in the order given
  EngineOptions engine;
  fs::path from, out;
  bool preview = false, json = false, no_metadata = false;
};

void add_request_flags(CLI::App& command, GenerateFlags& flags) {
  for (const RequestField& field : request_fields()) {
    const std::string flag = "--" + std::string(field.name);
    if (field.value_name.empty()) {
      command.add_flag_callback(
          flag, [&flags, &field] { flags.fields.emplace_back(&field, "true"); },
          std::string(field.help));
      continue;
    }
    CLI::Option* option = command.add_option_function<std::vector<std::string>>(
        flag,
        [&flags, &field](const std::vector<std::string>& values) {
          for (const std::string& value : values) flags.fields.emplace_back(&field, value);
        },
        fmt::format("{}  {}", field.value_name, field.help));
    option->type_name("")->allow_extra_args(false)->expected(1);
    option->multi_option_policy(field.repeatable ? CLI::MultiOptionPolicy::TakeAll
                                                 : CLI::MultiOptionPolicy::TakeLast);
  }
}

/// A repeatable flag replaces what --from brought; its further values add.
void apply_flags(const GenerateFlags& flags, GenerateRequest& request) {
  std::set<const RequestField*> seen;
  for (const auto& [field, value] : flags.fields) {
    if (field->repeatable && seen.insert(field).second) field->clear(request);
    field->set(request, value);
  }
}

/// "out.png", or "out-3.png" where there are several.
fs::path numbered(const fs::path& out, std::size_t index, std::size_t total) {
  if (total == 1) return out;
  fs::path path = out.parent_path() / out.stem();
  path += fmt::format("-{}", index + 1);
  path += out.extension();
  return path;
}

void check_out(const fs::path& out) {
  if (out.empty()) return;
  std::error_code ignored;
  const fs::path folder = out.has_parent_path() ? out.parent_path() : fs::path(".");
  if (!fs::is_directory(folder, ignored)) {
    throw Error(ErrorKind::not_found, fmt::format("--out \"{}\": the folder \"{}\" does not exist",
                                                  out.string(), folder.string()));
  }
  if (fs::is_directory(out, ignored)) {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("--out \"{}\" is a folder; a file name is expected", out.string()));
  }
  if (const std::string extension = out.extension().string();
      extension != ".png" && extension != ".PNG") {
    throw Error(ErrorKind::invalid_argument,
                fmt::format("--out \"{}\": pictures are written as .png", out.string()));
  }
}

struct Written {
  std::filesystem::path file;
  std::uint64_t seed;
};

nlohmann::ordered_json to_json(const GenerateResult& result, const std::vector<Written>& written) {
  nlohmann::ordered_json json;
  json["seed"] = result.seed;
  json["width"] = result.width;
  json["height"] = result.height;
  json["steps"] = result.steps;
  json["evaluations"] = result.evaluations;
  json["model"] = result.model_name;
  json["model_hash"] = result.model_hash;
  json["sampler"] = result.sampler;
  json["schedule"] = result.schedule;
  json["precision"] = result.precision;
  json["load_seconds"] = result.load_seconds;
  json["start_seconds"] = result.start_seconds;
  json["peak_bytes"] = result.peak_bytes;
  json["seconds"] = result.seconds;
  json["pictures"] = nlohmann::ordered_json::array();
  for (const Written& picture : written) {
    json["pictures"].push_back({{"file", picture.file.string()}, {"seed", picture.seed}});
  }
  json["loras"] = nlohmann::ordered_json::array();
  for (const LoraOutcome& lora : result.loras) {
    nlohmann::ordered_json entry = {{"name", lora.name},
                                    {"weight", lora.weight},
                                    {"text_weight", lora.text_weight},
                                    {"hash", lora.hash}};
    entry["settled"] = lora.settled;
    if (!lora.pictures.empty()) entry["pictures"] = lora.pictures;
    entry["warnings"] = lora.warnings;
    entry["trigger_words"] = lora.trigger_words;
    entry["report"] = nlohmann::ordered_json::parse(lora.report_json);
    json["loras"].push_back(std::move(entry));
  }
  json["lora_summary"] = result.lora_summary;
  return json;
}

fs::path write_picture(const GenerateFlags& flags, Picture picture, std::size_t index,
                       std::size_t total) {
  if (flags.no_metadata) picture.text.clear();
  if (flags.out.empty()) return save_png_numbered(picture, fs::current_path()).filename();
  const fs::path path = numbered(flags.out, index, total);
  save_png(picture, path);
  return path;
}

void run_generate(const GenerateFlags& flags, const std::stop_token& stop) {
  check_out(flags.out);
  Engine engine(flags.engine);
  GenerateRequest request;
  const bool gives_model = std::ranges::any_of(
      flags.fields, [](const auto& given) { return given.first->name == "model"; });
  if (!flags.from.empty()) request = engine.request_from_picture(flags.from, gives_model);
  apply_flags(flags, request);

  terminal::ProgressLine line;
  terminal::PreviewDrawer preview;
  std::vector<Written> written;
  const auto total = static_cast<std::size_t>(request.count) *
                     static_cast<std::size_t>(request.pick ? 1 : request.batch);
  Observer observer;
  observer.on_progress = [&](const Progress& progress) { line.update(progress); };
  observer.on_note = [&](const std::string& note) { line.note(note); };
  if (flags.preview) observer.on_preview = [&](const Image& image) { preview.draw(image, line); };
  observer.on_picture = [&](Picture&& picture) {
    const std::uint64_t seed = picture.seed;
    const int width = picture.image.width, height = picture.image.height;
    written.push_back({write_picture(flags, std::move(picture), written.size(), total), seed});
    if (flags.json) return;
    line.finish();
    fmt::print("{}  seed {}  {}x{}\n", written.back().file.string(), seed, width, height);
    std::fflush(stdout);
  };
  const GenerateResult result = engine.generate(request, observer, stop);
  line.finish();
  if (flags.json)
    fmt::print(
        "{}\n",
        to_json(result, written).dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

}  // namespace

void add_generate(CLI::App& app, std::stop_token stop) {
  CLI::App* command = app.add_subcommand("generate", "make pictures from a prompt");
  auto flags = std::make_shared<GenerateFlags>();
  add_request_flags(*command, *flags);
  command
      ->add_option("--from", flags->from,
                   "PNG  repeat this picture: its request, model and LoRAs found by name and hash; "
                   "further flags override")
      ->type_name("");
  command
      ->add_option("--out", flags->out,
                   "FILE  the picture's file, replaced in one step (default: {first free "
                   "number}-{seed}.png here, never overwriting); several pictures get numbers")
      ->type_name("");
  command->add_flag("--preview", flags->preview,
                    "show the picture as it forms, where the terminal can");
  command->add_flag("--json", flags->json, "print one JSON document to standard output");
  command->add_flag("--no-metadata", flags->no_metadata, "write no text into the picture");
  add_engine_flags(*command, flags->engine);
  command->callback([flags, stop = std::move(stop)] { run_generate(*flags, stop); });
}

}  // namespace velatura::cli
