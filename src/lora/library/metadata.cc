#include "lora/library/metadata.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>

#include "base/error.h"
#include "base/mapped_file.h"

namespace velatura::lora {

namespace {

using Json = nlohmann::json;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kBlank);
  return begin == std::string_view::npos
             ? std::string_view()
             : text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

std::optional<double> number_in(std::string_view text) {
  text = trimmed(text);
  double value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    return std::nullopt;
  return value;
}

std::optional<double> number_in(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end()) return std::nullopt;
  if (found->is_number()) return found->get<double>();
  return found->is_string() ? number_in(found->get_ref<const std::string&>()) : std::nullopt;
}

void add_words(std::vector<std::string>& words, std::string_view list) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    const std::string word(trimmed(list.substr(0, comma)));
    if (!word.empty() && std::ranges::find(words, word) == words.end()) words.push_back(word);
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
}

void add_words(std::vector<std::string>& words, const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end()) return;
  if (found->is_string()) add_words(words, found->get_ref<const std::string&>());
  if (!found->is_array()) return;
  for (const Json& entry : *found) {
    if (entry.is_string()) add_words(words, entry.get_ref<const std::string&>());
  }
}

Json read_sidecar(std::filesystem::path path, const char* extension) {
  path.replace_extension(extension);
  std::error_code ignored;
  constexpr std::uintmax_t kLargest = 16u << 20;
  if (!std::filesystem::is_regular_file(path, ignored) ||
      std::filesystem::file_size(path, ignored) > kLargest)
    return {};
  try {
    const auto file = MappedFile::open(path);
    const auto* begin = reinterpret_cast<const char*>(file->bytes().data());
    Json json = Json::parse(begin, begin + file->bytes().size(), nullptr, false);
    return json.is_object() ? json : Json();
  } catch (const Error&) {
    return {};
  }
}

void read_header(const std::map<std::string, std::string>& header, FileMetadata& metadata) {
  const auto value = [&](const char* key) -> const std::string* {
    const auto found = header.find(key);
    return found == header.end() ? nullptr : &found->second;
  };
  for (const char* key : {"name", "modelspec.title", "ss_output_name"}) {
    if (const std::string* text = value(key); text && metadata.title.empty())
      metadata.title = *text;
  }
  for (const char* key :
       {"recommended_weight", "preferred_weight", "default_weight", "strength", "default_strength",
        "multiplier", "scale", "modelspec.lora_default_weight", "lora_default_weight"}) {
    const std::string* text = value(key);
    if (text && !metadata.recommended_weight) metadata.recommended_weight = number_in(*text);
  }
  if (const std::string* text = value("modelspec.metadata"); text && !metadata.recommended_weight) {
    const Json json = Json::parse(*text, nullptr, false);
    if (json.is_object()) metadata.recommended_weight = number_in(json, "preferred_weight");
  }
  for (const char* key :
       {"trigger_word", "trigger_words", "activation_text", "modelspec.trigger_phrase"}) {
    if (const std::string* text = value(key)) add_words(metadata.trigger_words, *text);
  }
}

void read_sidecars(const std::filesystem::path& path, FileMetadata& metadata) {
  const Json user = read_sidecar(path, ".json");
  add_words(metadata.trigger_words, user, "activation text");
  std::optional<double> weight = number_in(user, "preferred weight");
  if (weight == 0.0) weight.reset();  // web UIs write 0 for "not set"
  add_words(metadata.trigger_words, read_sidecar(path, ".civitai.info"), "trainedWords");
  const Json manager = read_sidecar(path, ".metadata.json");
  if (const auto civitai = manager.find("civitai");
      civitai != manager.end() && civitai->is_object()) {
    add_words(metadata.trigger_words, *civitai, "trainedWords");
  }
  if (const auto tips = manager.find("usage_tips");
      tips != manager.end() && tips->is_string() && !weight) {
    const Json json = Json::parse(tips->get_ref<const std::string&>(), nullptr, false);
    if (json.is_object()) weight = number_in(json, "strength");
  }
  if (!metadata.recommended_weight) metadata.recommended_weight = weight;
}

}  // namespace

FileMetadata read_metadata(const std::filesystem::path& path,
                           const std::map<std::string, std::string>& header) {
  FileMetadata metadata;
  read_header(header, metadata);
  read_sidecars(path, metadata);
  if (metadata.title.empty()) metadata.title = path.stem().string();
  return metadata;
}

}  // namespace velatura::lora
