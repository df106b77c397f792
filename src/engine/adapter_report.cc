#include "engine/adapter_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "pipelines/prompt/adapter_items.h"

namespace velatura::engine {

namespace {

using Json = nlohmann::ordered_json;

std::string weight_text(const LoraOutcome& outcome, const LoraRequest& settled) {
  std::string text = settled.curve.points.empty()
                         ? fmt::format("weight {}", outcome.weight)
                         : "weight " + pipelines::prompt::to_text(settled.curve);
  if (outcome.weight != outcome.text_weight || !settled.curve.points.empty())
    text += fmt::format(", text {}", outcome.text_weight);
  if (settled.first_step > 1 || settled.last_step) {
    text += fmt::format(", steps {}-{}", settled.first_step,
                        settled.last_step ? std::to_string(*settled.last_step) : "");
  }
  if (!settled.blocks.empty()) text += ", blocks " + settled.blocks;
  if (!settled.elements.empty()) text += ", elements " + settled.elements;
  if (!settled.mask.empty()) text += ", mask " + settled.mask.filename().string();
  if (settled.ranks > 0) text += fmt::format(", {} ranks", settled.ranks);
  return text;
}

const std::string* value_of(const std::map<std::string, std::string>& metadata, const char* key) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? nullptr : &found->second;
}

bool is_true(const std::string* value) {
  return value != nullptr && (*value == "True" || *value == "true" || *value == "1");
}

Json applied_json(const lora::BoundAdapter& adapter, std::span<const lora::Component> components,
                  std::span<const lora::ComponentAccount> accounts) {
  Json applied = Json::object();
  for (std::size_t i = 0; i < accounts.size() && i < components.size(); ++i) {
    std::set<std::string_view> own;
    for (const lora::BoundModule& module : adapter.modules) {
      if (module.target.component == static_cast<int>(i))
        own.insert(components[i].modules[static_cast<std::size_t>(module.target.layer)].path);
    }
    Json layers = Json::array();
    for (const lora::LayerAccount& layer : accounts[i].layers) {
      if (!own.contains(layer.path)) continue;
      Json forms = Json::array();
      for (const lora::Form form : layer.forms) forms.push_back(to_string(form));
      Json entry = {{"layer", layer.path}, {"forms", std::move(forms)}};
      entry["adapters"] = layer.adapters;
      entry["bytes"] = layer.bytes;
      if (layer.error > 0) entry["rounding"] = layer.error;
      layers.push_back(std::move(entry));
    }
    if (!layers.empty()) applied[accounts[i].component] = std::move(layers);
  }
  return applied;
}

}  // namespace

std::string summary_line(const LoraOutcome& outcome, const LoraRequest& settled,
                         const lora::BindReport& report) {
  std::string line = fmt::format("LoRA {} ({}): {}", outcome.name, weight_text(outcome, settled),
                                 report.summary());
  if (!outcome.trigger_words.empty()) line += "; trigger words: " + outcome.trigger_words.front();
  for (std::size_t i = 1; i < outcome.trigger_words.size(); ++i)
    line += ", " + outcome.trigger_words[i];
  for (const lora::TensorFate& fate : report.tensors) {
    if (fate.fate == lora::Fate::bound) continue;
    return line + fmt::format("\n  \"{}\" {}: {}", fate.name, to_string(fate.fate), fate.reason);
  }
  return line;
}

std::vector<std::string> metadata_warnings(const std::map<std::string, std::string>& metadata,
                                           const GenerateRequest& request,
                                           diffusion::Prediction prediction,
                                           const LoraRequest& settled) {
  std::vector<std::string> warnings;
  const auto warn = [&](std::string text) {
    warnings.push_back(fmt::format("LoRA {}: {}", settled.name, std::move(text)));
  };
  if (const std::string* skip = value_of(metadata, "ss_clip_skip")) {
    int trained = 0;
    const auto [stop, error] = std::from_chars(skip->data(), skip->data() + skip->size(), trained);
    const bool is_number = error == std::errc() && stop == skip->data() + skip->size();
    if (is_number && trained >= 1 && trained != request.clip_skip) {
      warn(fmt::format("trained with clip skip {}, this run has {} (--clip-skip {})", trained,
                       request.clip_skip, trained));
    }
  }
  const std::string* type = value_of(metadata, "modelspec.prediction_type");
  const bool is_v = is_true(value_of(metadata, "ss_v_parameterization")) ||
                    (type != nullptr && (*type == "v" || *type == "v_prediction"));
  const bool is_epsilon = type != nullptr && *type == "epsilon";
  if (is_v && prediction != diffusion::Prediction::v)
    warn("made for a v-prediction model; this one predicts noise (--prediction v)");
  if (is_epsilon && prediction == diffusion::Prediction::v)
    warn("made for a model that predicts noise; this one predicts v (--prediction epsilon)");
  if (is_true(value_of(metadata, "ss_zero_terminal_snr")))
    warn("trained with zero terminal SNR; this run's noise does not reach it");
  if (!settled.second_pass.empty())
    warn(fmt::format("hr={} is for a second pass; this run has one pass", settled.second_pass));
  return warnings;
}

std::string report_json(const lora::BoundAdapter& adapter,
                        std::span<const lora::Component> components,
                        std::span<const lora::ComponentAccount> accounts) {
  const lora::BindReport& report = adapter.report;
  Json json;
  json["file"] = report.file;
  json["dialects"] = report.dialects;
  json["algorithms"] = report.algorithms;
  json["modules"] = report.modules;
  json["ranks"] = {report.min_rank, report.max_rank};
  json["tensors"] = Json::array();
  for (const lora::TensorFate& fate : report.tensors) {
    json["tensors"].push_back({{"name", fate.name},
                               {"target", fate.targets},
                               {"fate", to_string(fate.fate)},
                               {"reason", fate.reason}});
  }
  json["applied"] = applied_json(adapter, components, accounts);
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string accounts_line(std::span<const lora::ComponentAccount> accounts) {
  std::string line;
  for (const lora::ComponentAccount& account : accounts) {
    if (account.layers.empty()) continue;
    line += (line.empty() ? "" : "; ") + account.summary();
  }
  return line;
}

}  // namespace velatura::engine
