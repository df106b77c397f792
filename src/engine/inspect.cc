// What a file is, as text and as JSON: weight files, diffusers folders, pictures.
#include "velatura/inspect.h"

#include <fmt/format.h>

#include <array>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <span>

#include "base/error.h"
#include "image/codec.h"
#include "lora/adapter_file.h"
#include "lora/library/metadata.h"
#include "models/inspect.h"
#include "velatura/lora.h"

namespace velatura {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

/// Longer values are cut in the text form; the JSON has them whole.
constexpr std::size_t kLongestValue = 200;

std::string shortened(const std::string& value) {
  if (value.size() <= kLongestValue) return value;
  return fmt::format("{}… ({} bytes)", value.substr(0, kLongestValue), value.size());
}

std::string dump(const Json& json) {
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
}

bool is_picture(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return false;  // opening a pipe would wait
  std::ifstream file(path, std::ios::binary);
  std::array<char, 32> head{};
  file.read(head.data(), head.size());
  const auto length = static_cast<std::size_t>(file.gcount());
  return image::recognise(std::as_bytes(std::span(head.data(), length))).has_value();
}

Inspection inspect_picture(const fs::path& path) {
  const image::Picture picture = image::read_file(path);
  Json json = {{"path", path.string()},
               {"kind", "picture"},
               {"format", to_string(picture.format)},
               {"width", picture.image.width},
               {"height", picture.image.height}};
  std::string text =
      fmt::format("{}: {} picture, {}x{}", path.filename().string(), to_string(picture.format),
                  picture.image.width, picture.image.height);
  json["texts"] = Json::object();
  for (const image::TextChunk& chunk : picture.texts) {
    json["texts"][chunk.key] = chunk.value;
    text += fmt::format("\n\n{}:\n{}", chunk.key, chunk.value);
  }
  return {.text = std::move(text), .json = dump(json)};
}

/// Adapters say more of themselves than tensors.
void add_adapter(const fs::path& path, Json& json, std::string& text) {
  const LoraInfo info = lora_info(path);
  json["title"] = info.title;
  json["modules"] = info.modules;
  json["trigger_words"] = info.trigger_words;
  json["recommended_weight"] = info.recommended_weight ? Json(*info.recommended_weight) : Json();
  text += fmt::format("\ntitle: {}, {} modules", info.title, info.modules);
  if (info.recommended_weight)
    text += fmt::format(", recommended weight {}", *info.recommended_weight);
  for (std::size_t i = 0; i < info.trigger_words.size(); ++i)
    text += (i == 0 ? "\ntrigger words: " : ", ") + info.trigger_words[i];
}

std::string headline(const models::FileIdentity& identity) {
  std::string text(identity.kind == models::FileKind::adapter ? "LoRA" : to_string(identity.kind));
  if (!identity.family.empty()) text += " of " + identity.family;
  if (!identity.variant.empty()) text += fmt::format(" ({})", identity.variant);
  return text + (identity.supported ? "" : "; not run by this version: " + identity.reason);
}

Json to_json(const models::FileIdentity& identity) {
  return {{"kind", to_string(identity.kind)},
          {"family", identity.family},
          {"variant", identity.variant},
          {"supported", identity.supported},
          {"reason", identity.reason}};
}

Inspection inspect_weights(const fs::path& path) {
  const models::Description found = models::describe(path);
  Json json = {{"path", path.string()}};
  json.update(to_json(found.identity));
  std::string text = fmt::format("{}: {}", path.filename().string(), headline(found.identity));
  if (found.identity.kind == models::FileKind::adapter) add_adapter(path, json, text);
  json["file_bytes"] = found.file_bytes;
  json["tensor_bytes"] = found.tensor_bytes;
  json["types"] = found.types;
  json["metadata"] = found.metadata;
  json["known_unused"] = found.known_unused;
  json["tensors"] = Json::array();
  text += fmt::format("\n{} tensors, {} bytes:", found.tensors.size(), found.tensor_bytes);
  for (const auto& [type, count] : found.types) text += fmt::format(" {} {}", count, type);
  for (const auto& [key, value] : found.metadata)
    text += fmt::format("\nmetadata {}: {}", key, shortened(value));
  for (const weights::TensorInfo& tensor : found.tensors) {
    const auto extents = tensor.shape.extents();
    json["tensors"].push_back(
        {{"name", tensor.name},
         {"dtype", to_string(tensor.dtype)},
         {"shape", std::vector<std::int64_t>(extents.begin(), extents.end())}});
    text += fmt::format("\n{:<8} {:<20} {}", to_string(tensor.dtype), tensor.shape.to_string(),
                        tensor.name);
  }
  return {.text = std::move(text), .json = dump(json)};
}

}  // namespace

LoraInfo lora_info(const fs::path& path) {
  const auto source = weights::open_source(path);
  const lora::FileMetadata metadata = lora::read_metadata(path, source->metadata());
  std::set<std::string> modules;
  for (const weights::TensorInfo& tensor : source->tensors()) {
    if (const auto split = lora::split_name(tensor.name)) modules.insert(split->module);
  }
  return {.name = path.stem().string(),
          .path = path,
          .title = metadata.title,
          .trigger_words = metadata.trigger_words,
          .recommended_weight = metadata.recommended_weight,
          .modules = static_cast<int>(modules.size())};
}

Inspection inspect(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path, ignored))
    fail(ErrorKind::not_found, "\"{}\": there is no such file", path.string());
  if (fs::is_directory(path, ignored)) {
    const models::FileIdentity identity = models::identify_folder(path);
    Json json = {{"path", path.string()}};
    json.update(to_json(identity));
    return {.text = fmt::format("{}: folder, {}", path.string(), headline(identity)),
            .json = dump(json)};
  }
  return is_picture(path) ? inspect_picture(path) : inspect_weights(path);
}

}  // namespace velatura
