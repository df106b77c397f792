#include "engine/adapters.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "lora/library/metadata.h"
#include "pipelines/prompt/tags.h"

namespace velatura::engine {

namespace {

std::string report_json(const lora::BindReport& report) {
  nlohmann::ordered_json json;
  json["file"] = report.file;
  json["dialects"] = report.dialects;
  json["algorithms"] = report.algorithms;
  json["modules"] = report.modules;
  json["ranks"] = {report.min_rank, report.max_rank};
  json["tensors"] = nlohmann::ordered_json::array();
  for (const lora::TensorFate& fate : report.tensors) {
    json["tensors"].push_back({{"name", fate.name},
                               {"target", fate.targets},
                               {"fate", to_string(fate.fate)},
                               {"reason", fate.reason}});
  }
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// A strength of each component, absent ones still open.
struct Named {
  std::string name;
  std::optional<double> denoiser, text;
  std::int64_t ranks = 0;
};

Named from_tag(const pipelines::prompt::AdapterTag& tag) {
  if (!tag.other.empty()) {
    fail(ErrorKind::unsupported,
         "the tag {}: \"{}\" has no meaning in this version; name, text-encoder and denoiser "
         "strength, te=, unet=, module=, dyn= have",
         tag.text, tag.other.begin()->first);
  }
  return {.name = tag.name,
          .denoiser = tag.denoiser,
          .text = tag.text_encoder,
          .ranks = tag.dynamic_rank.value_or(0)};
}

std::string summary_line(const LoraOutcome& outcome, const lora::BindReport& report) {
  const std::string weight = outcome.weight == outcome.text_weight
                                 ? fmt::format("{}", outcome.weight)
                                 : fmt::format("{}, text {}", outcome.weight, outcome.text_weight);
  std::string line = fmt::format("LoRA {} (weight {}): {}", outcome.name, weight, report.summary());
  if (!outcome.trigger_words.empty()) line += "; trigger words: " + outcome.trigger_words.front();
  for (std::size_t i = 1; i < outcome.trigger_words.size(); ++i)
    line += ", " + outcome.trigger_words[i];
  for (const lora::TensorFate& fate : report.tensors) {
    if (fate.fate == lora::Fate::bound) continue;
    return line + fmt::format("\n  \"{}\" {}: {}", fate.name, to_string(fate.fate), fate.reason);
  }
  return line;
}

}  // namespace

RequestedAdapters collect_adapters(const GenerateRequest& request,
                                   const std::shared_ptr<const pipelines::DiffusionModel>& model,
                                   const AdapterServices& services, const std::stop_token& stop) {
  std::vector<Named> named;
  for (const LoraRequest& lora : request.loras) {
    named.push_back({.name = lora.name,
                     .denoiser = lora.weight,
                     .text = lora.text_weight ? lora.text_weight : lora.weight});
  }
  RequestedAdapters result{.uses = {}, .outcomes = {}, .prompt = request.prompt};
  bool wants_triggers = false;
  if (!request.raw_prompt) {
    pipelines::prompt::TaggedPrompt tagged = pipelines::prompt::read_tags(request.prompt);
    for (const auto& tag : tagged.adapters) named.push_back(from_tag(tag));
    result.prompt = std::move(tagged.prompt);
    wants_triggers = tagged.has_trigger;
  }
  std::vector<std::string> triggers;
  for (const Named& one : named) {
    const std::filesystem::path path = services.roots.resolve(AssetKind::lora, one.name);
    const auto bound = services.cache.adapter(path, model);
    const lora::FileMetadata metadata = lora::read_metadata(path, bound->file->source().metadata());
    const double fallback = metadata.recommended_weight.value_or(1.0);
    LoraOutcome outcome{.name = bound->file->stem(),
                        .weight = one.denoiser.value_or(fallback),
                        .text_weight = one.text.value_or(one.denoiser.value_or(fallback)),
                        .hash = services.hashes.auto_v3(path, stop),
                        .summary = {},
                        .report_json = report_json(bound->report),
                        .trigger_words = metadata.trigger_words,
                        .has_remarks = bound->report.count(lora::Fate::bound) !=
                                       static_cast<int>(bound->report.tensors.size())};
    outcome.summary = summary_line(outcome, bound->report);
    triggers.insert(triggers.end(), metadata.trigger_words.begin(), metadata.trigger_words.end());
    result.uses.push_back({.adapter = bound,
                           .denoiser = static_cast<float>(outcome.weight),
                           .text = static_cast<float>(outcome.text_weight),
                           .ranks = one.ranks});
    result.outcomes.push_back(std::move(outcome));
  }
  if (wants_triggers) result.prompt = pipelines::prompt::insert_triggers(result.prompt, triggers);
  return result;
}

}  // namespace velatura::engine
