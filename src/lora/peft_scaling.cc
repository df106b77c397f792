#include "lora/peft_scaling.h"

#include <algorithm>
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

/// std::regex backtracks: a file may not choose a pattern that takes exponential time. Repetitions
/// of single characters, a few of them, take polynomial time in a module's short name.
bool is_harmless(std::string_view pattern) {
  constexpr std::size_t kLongest = 512;
  constexpr int kMostRepetitions = 3;
  int repetitions = 0;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\') {
      ++i;
      if (i < pattern.size() && pattern[i] >= '1' && pattern[i] <= '9') return false;
      continue;
    }
    if (pattern[i] != '*' && pattern[i] != '+' && pattern[i] != '{' && pattern[i] != '?') continue;
    const bool of_group = i > 0 && pattern[i - 1] == ')';
    if (of_group && pattern[i] != '?') return false;
    if (++repetitions > kMostRepetitions) return false;
  }
  return pattern.size() <= kLongest;
}

/// PEFT asks for re.match("(.*\.)?(pattern)$", module): the end of the path, after a dot.
std::regex compile(const std::string& pattern, const std::string& where) {
  if (!is_harmless(pattern)) {
    fail(ErrorKind::unsupported, "{}: the alpha_pattern \"{}\" is too involved to be matched",
         where, pattern);
  }
  try {
    return std::regex("(?:.*\\.)?(?:" + pattern + ")");
  } catch (const std::regex_error&) {
    fail(ErrorKind::bad_file, "{}: the alpha_pattern \"{}\" is no regular expression", where,
         pattern);
  }
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

PeftScaling parse_config(const Json& config, const std::string& where) {
  PeftScaling scaling;
  if (const auto found = config.find("lora_alpha"); found != config.end() && !found->is_null())
    scaling.alpha = finite(*found, "lora_alpha", where);
  read_flag(config, "use_rslora", scaling.rank_stabilised);
  scaling.rotation = parse_rotation(config, where);
  const PeftRotation& rotation = scaling.rotation;
  scaling.text = Json{scaling.alpha,  scaling.rank_stabilised, rotation.is_series,
                      rotation.terms, rotation.is_constrained, rotation.eps}
                     .dump();
  const auto patterns = config.find("alpha_pattern");
  if (patterns == config.end() || !patterns->is_object()) return scaling;
  for (const auto& [pattern, alpha] : patterns->items()) {
    scaling.alpha_pattern.emplace_back(compile(pattern, where),
                                       finite(alpha, "a value of alpha_pattern", where));
  }
  scaling.text += patterns->dump(-1, ' ', false, Json::error_handler_t::replace);
  return scaling;
}

}  // namespace

double PeftScaling::factor(std::string_view module, std::int64_t rank) const {
  const auto matching = std::ranges::find_if(alpha_pattern, [&](const auto& row) {
    return std::regex_match(module.begin(), module.end(), row.first);
  });
  const double own = matching == alpha_pattern.end() ? alpha : matching->second;
  const auto r = static_cast<double>(rank);
  return own / (rank_stabilised ? std::sqrt(r) : r);
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
