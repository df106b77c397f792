#include "models/config_reader.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace velatura::models {

namespace {

constexpr std::int64_t kLargestCount = std::int64_t{1} << 20;

/// A short quotation of a value for a message.
std::string quoted(const nlohmann::json& value) {
  const std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  return text.size() <= 80 ? text : text.substr(0, 77) + "...";
}

}  // namespace

ConfigReader::ConfigReader(std::string_view text, std::string what) : what_(std::move(what)) {
  nlohmann::json parsed = nlohmann::json::parse(text, nullptr, false);
  if (!parsed.is_object()) fail(ErrorKind::bad_file, "{}: expected a JSON object", what_);
  object_ = std::make_shared<const nlohmann::json>(std::move(parsed));
}

const nlohmann::json* ConfigReader::find(std::string_view field) const {
  const auto found = object_->find(std::string(field));
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

bool ConfigReader::has(std::string_view field) const {
  return find(field) != nullptr;
}

void ConfigReader::wrong(std::string_view field, std::string_view expected) const {
  const nlohmann::json* value = find(field);
  fail(ErrorKind::bad_file, "{}: \"{}\" is {}, expected {}", what_, field,
       value == nullptr ? "absent" : quoted(*value), expected);
}

int ConfigReader::count(std::string_view field, int fallback) const {
  const std::int64_t value = integer(field, fallback);
  if (value < 1 || value > kLargestCount) wrong(field, "a positive count");
  return static_cast<int>(value);
}

std::vector<int> ConfigReader::counts(std::string_view field, std::vector<int> fallback) const {
  const nlohmann::json* value = find(field);
  if (value == nullptr) return fallback;
  if (!value->is_array()) return {count(field, 1)};
  std::vector<int> result;
  for (const nlohmann::json& element : *value) {
    if (!element.is_number_integer()) wrong(field, "a list of positive counts");
    const auto number = element.get<std::int64_t>();
    if (number < 1 || number > kLargestCount) wrong(field, "a list of positive counts");
    result.push_back(static_cast<int>(number));
  }
  if (result.empty()) wrong(field, "a list of positive counts");
  return result;
}

std::int64_t ConfigReader::integer(std::string_view field, std::int64_t fallback) const {
  const nlohmann::json* value = find(field);
  if (value == nullptr) return fallback;
  if (!value->is_number_integer()) wrong(field, "an integer");
  return value->get<std::int64_t>();
}

double ConfigReader::number(std::string_view field, double fallback) const {
  const nlohmann::json* value = find(field);
  if (value == nullptr) return fallback;
  if (!value->is_number()) wrong(field, "a number");
  return value->get<double>();
}

bool ConfigReader::boolean(std::string_view field, bool fallback) const {
  const nlohmann::json* value = find(field);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) wrong(field, "true or false");
  return value->get<bool>();
}

std::string ConfigReader::text(std::string_view field, std::string_view fallback) const {
  const nlohmann::json* value = find(field);
  if (value == nullptr) return std::string(fallback);
  if (!value->is_string()) wrong(field, "a text");
  return value->get<std::string>();
}

std::vector<std::string> ConfigReader::texts(std::string_view field,
                                             std::vector<std::string> fallback) const {
  const nlohmann::json* value = find(field);
  if (value == nullptr) return fallback;
  std::vector<std::string> result;
  if (!value->is_array()) wrong(field, "a list of texts");
  for (const nlohmann::json& element : *value) {
    if (!element.is_string()) wrong(field, "a list of texts");
    result.push_back(element.get<std::string>());
  }
  return result;
}

void ConfigReader::refuse(std::string_view field) const {
  const nlohmann::json* value = find(field);
  if (value == nullptr || (value->is_boolean() && !value->get<bool>())) return;
  fail(ErrorKind::unsupported, "{}: \"{}\" is {}, which is not supported (expected null)", what_,
       field, quoted(*value));
}

void ConfigReader::expect_text(std::string_view field,
                               std::initializer_list<std::string_view> accepted) const {
  if (!has(field)) return;
  const std::string value = text(field, "");
  if (std::find(accepted.begin(), accepted.end(), value) != accepted.end()) return;
  std::string list;
  for (const std::string_view name : accepted) list.append(list.empty() ? "" : " or ").append(name);
  fail(ErrorKind::unsupported, "{}: \"{}\" is \"{}\", which is not supported (expected {})", what_,
       field, value, list);
}

void ConfigReader::expect_number(std::string_view field, double accepted) const {
  const double value = number(field, accepted);
  if (value == accepted) return;
  fail(ErrorKind::unsupported, "{}: \"{}\" is {}, which is not supported (expected {})", what_,
       field, value, accepted);
}

std::vector<int> for_each_block(const ConfigReader& reader, std::string_view field,
                                std::vector<int> values, std::size_t size) {
  if (values.size() == 1) values.resize(size, values.front());
  if (values.size() != size) reader.wrong(field, "one number, or one for each block");
  return values;
}

}  // namespace velatura::models
