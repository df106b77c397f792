#include "lora/peft_scaling.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace velatura::lora {

namespace {

// Ordered, since the first pattern that matches wins.
using Json = nlohmann::ordered_json;

Json parse_object(std::string_view json, const std::string& where) {
  // What nests without end would overflow the stack where it is copied.
  constexpr int kDeepest = 64;
  bool is_deep = false;
  const auto keep = [&](int depth, Json::parse_event_t, Json&) {
    is_deep = is_deep || depth > kDeepest;
    return depth <= kDeepest;
  };
  Json parsed = Json::parse(json, keep, false);
  if (is_deep) fail(ErrorKind::bad_file, "{}: nests deeper than {} levels", where, kDeepest);
  if (!parsed.is_object()) {
    fail(ErrorKind::bad_file, "{}: not a JSON object with the fields of PEFT's configurations",
         where);
  }
  return parsed;
}

double finite(const Json& value, const char* field, const std::string& where) {
  const double number = value.is_number() ? value.get<double>() : NAN;
  if (!std::isfinite(number))
    fail(ErrorKind::bad_file, "{}: {} is not a finite number", where, field);
  return number;
}

void read_flag(const Json& config, const char* field, bool& value) {
  if (const auto found = config.find(field); found != config.end() && found->is_boolean())
    value = found->get<bool>();
}

PeftRotation parse_rotation(const Json& config, const std::string& where) {
  PeftRotation rotation;
  read_flag(config, "use_cayley_neumann", rotation.is_series);
  read_flag(config, "coft", rotation.is_constrained);
  if (const auto found = config.find("eps"); found != config.end() && !found->is_null())
    rotation.eps = finite(*found, "eps", where);
  const auto terms = config.find("num_cayley_neumann_terms");
  if (terms == config.end() || terms->is_null()) return rotation;
  const double number = finite(*terms, "num_cayley_neumann_terms", where);
  if (number < 1 || number > PeftRotation::kMostTerms || number != std::floor(number)) {
    fail(ErrorKind::bad_file,
         "{}: num_cayley_neumann_terms is {}, a whole number from 1 to {} is expected", where,
         number, PeftRotation::kMostTerms);
  }
  rotation.terms = static_cast<int>(number);
  return rotation;
}

/// Pattern → number, in the file's order; nothing where the field is no object.
PeftPatterns parse_patterns(const Json& config, const char* field, const std::string& where,
                            std::string& text) {
  PeftPatterns read;
  const auto patterns = config.find(field);
  if (patterns == config.end() || !patterns->is_object()) return read;
  const std::string place = where + ", " + field;
  for (const auto& [pattern, number] : patterns->items())
    read.add(pattern, finite(number, "a value", place), place);
  text += patterns->dump(-1, ' ', false, Json::error_handler_t::replace);
  return read;
}

std::optional<PeftFeedforward> parse_feedforward(const Json& config, const std::string& where,
                                                 std::string& text) {
  constexpr std::size_t kMostEnds = 4096;
  const auto field = config.find("feedforward_modules");
  if (field == config.end() || !(field->is_string() || field->is_array())) return std::nullopt;
  const std::string place = where + ", feedforward_modules";
  PeftFeedforward read;
  if (field->is_string()) {
    // The whole name is meant: the anchor takes back what a pattern may otherwise have before it.
    read.expression.emplace("^(" + field->get<std::string>() + ")", place);
  } else if (field->size() > kMostEnds) {
    fail(ErrorKind::unsupported, "{}: more than {} names", place, kMostEnds);
  }
  for (const Json& end : *field) {
    if (field->is_array() && end.is_string()) read.ends.push_back(end.get<std::string>());
  }
  text += field->dump(-1, ' ', false, Json::error_handler_t::replace);
  return read;
}

std::string kind_of(const Json& config) {
  const auto kind = config.find("peft_type");
  return kind != config.end() && kind->is_string() ? kind->get<std::string>() : std::string();
}

PeftScaling parse_config(const Json& config, const std::string& where) {
  PeftScaling scaling;
  const std::string kind = kind_of(config);
  const bool is_lokr = kind == "LOKR", is_lycoris = is_lokr || kind == "LOHA";
  const auto number = [&](const char* field) -> std::optional<double> {
    const auto found = config.find(field);
    if (found == config.end() || found->is_null()) return std::nullopt;
    return finite(*found, field, where);
  };
  scaling.alpha = number(is_lycoris ? "alpha" : "lora_alpha").value_or(scaling.alpha);
  if (!is_lycoris) read_flag(config, "use_rslora", scaling.rank_stabilised);
  scaling.rotation = parse_rotation(config, where);
  const PeftRotation& rotation = scaling.rotation;
  scaling.text = Json{scaling.alpha,  scaling.rank_stabilised, rotation.is_series,
                      rotation.terms, rotation.is_constrained, rotation.eps}
                     .dump();
  scaling.alpha_pattern = parse_patterns(config, "alpha_pattern", where, scaling.text);
  if (kind == "IA3") scaling.feedforward = parse_feedforward(config, where, scaling.text);
  if (!is_lokr) return scaling;
  constexpr double kDefaultRank = 8;  // LoKrConfig's
  scaling.stated_rank = number("r").value_or(kDefaultRank);
  scaling.text += Json{"LoKr", *scaling.stated_rank}.dump();
  scaling.rank_pattern = parse_patterns(config, "rank_pattern", where, scaling.text);
  return scaling;
}

/// The name that the trained model had for the module: PEFT wraps it, diffusers puts the component
/// before it.
std::string_view trained_name(std::string_view name) {
  constexpr auto kBefore =
      std::to_array<std::string_view>({"base_model.model.", "diffusion_model.", "transformer.",
                                       "unet.", "text_encoder.", "text_encoder_2."});
  for (const std::string_view before : kBefore) {
    if (name.starts_with(before)) return name.substr(before.size());
  }
  return name;
}

double number_of(const PeftPatterns& patterns, const PeftModule& module, double otherwise) {
  if (patterns.empty()) return otherwise;
  if (const auto own = patterns.find(trained_name(module.name))) return *own;
  return patterns.find(module.path).value_or(otherwise);
}

}  // namespace

bool PeftFeedforward::contains(std::string_view trained_name) const {
  if (expression) return expression->matches(trained_name);
  return std::ranges::any_of(ends,
                             [&](const std::string& end) { return trained_name.ends_with(end); });
}

std::optional<bool> PeftScaling::is_feedforward(const PeftModule& module) const {
  if (!feedforward) return std::nullopt;
  return feedforward->contains(trained_name(module.name));
}

double PeftScaling::factor(const PeftModule& module, std::int64_t rank) const {
  const auto r = static_cast<double>(rank);
  return number_of(alpha_pattern, module, alpha) / (rank_stabilised ? std::sqrt(r) : r);
}

double PeftScaling::factor_without_rank(const PeftModule& module) const {
  if (!stated_rank) return 1;
  return number_of(alpha_pattern, module, alpha) / number_of(rank_pattern, module, *stated_rank);
}

PeftScaling parse_peft_config(std::string_view json, const std::string& where) {
  return parse_config(parse_object(json, where), where);
}

std::map<std::string, PeftScaling, std::less<>> parse_peft_metadata(std::string_view json,
                                                                    const std::string& where) {
  std::map<std::string, Json> by_component;
  const Json fields = parse_object(json, where);
  for (const auto& [key, value] : fields.items()) {
    if (const std::size_t dot = key.find('.'); dot != std::string::npos)
      by_component[key.substr(0, dot)][key.substr(dot + 1)] = value;
  }
  std::map<std::string, PeftScaling, std::less<>> scalings;
  for (const auto& [component, config] : by_component)
    scalings.emplace(component, parse_config(config, where));
  return scalings;
}

std::optional<PeftScaling> parse_header_alpha(std::string_view json) {
  const Json parsed = Json::parse(json, nullptr, false);
  if (!parsed.is_number() || !std::isfinite(parsed.get<double>())) return std::nullopt;
  PeftScaling scaling;
  scaling.alpha = parsed.get<double>();
  scaling.text = parsed.dump();
  return scaling;
}

}  // namespace velatura::lora
