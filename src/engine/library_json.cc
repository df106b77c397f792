// Entries of the adapter library as JSON.
#include <array>
#include <nlohmann/json.hpp>

#include "velatura/library.h"

namespace velatura {

namespace {

using Json = nlohmann::ordered_json;

Json number_or_null(const std::optional<double>& value) {
  return value ? Json(*value) : Json();
}

Json text_or_null(const std::string& text) {
  return text.empty() ? Json() : Json(text);
}

Json words(const std::vector<SourcedText>& list) {
  Json json = Json::array();
  for (const SourcedText& word : list)
    json.push_back({{"text", word.text}, {"source", word.source}});
  return json;
}

Json ranks(const LibraryEntry& entry) {
  if (entry.common_rank == 0) return {};
  return {{"min", entry.min_rank}, {"max", entry.max_rank}, {"most_common", entry.common_rank}};
}

Json blocks(const LibraryEntry& entry) {
  Json json = Json::object();
  for (const BlockNumbers& block : entry.blocks) json[block.kind] = block.numbers;
  return json;
}

Json tags(const LibraryEntry& entry) {
  Json json = Json::array();
  for (const TagCount& tag : entry.frequent_tags)
    json.push_back({{"tag", tag.tag}, {"count", tag.count}});
  return json;
}

Json to_object(const LibraryEntry& entry) {
  Json json;
  json["name"] = entry.name;
  json["relative_path"] = entry.relative_path;
  json["path"] = entry.path.string();
  json["root"] = entry.root.string();
  json["bytes"] = entry.bytes;
  json["changed"] = entry.changed / 1'000'000'000;
  json["problem"] = text_or_null(entry.problem);
  json["family"] = text_or_null(entry.family);
  json["family_evidence"] = text_or_null(entry.family_evidence);
  json["algorithms"] = entry.algorithms;
  json["ranks"] = ranks(entry);
  json["network_alpha"] = number_or_null(entry.network_alpha);
  json["modules"] = entry.modules;
  json["tensors"] = entry.tensors;
  json["parameters"] = entry.parameters;
  json["types"] = entry.types;
  json["targets"] = entry.targets;
  json["blocks"] = blocks(entry);
  json["title"] = text_or_null(entry.title);
  json["output_name"] = text_or_null(entry.output_name);
  json["base_model"] = text_or_null(entry.base_model);
  json["author"] = text_or_null(entry.author);
  json["description"] = text_or_null(entry.description);
  json["notes"] = text_or_null(entry.notes);
  json["negative_text"] = text_or_null(entry.negative_text);
  json["trigger_words"] = words(entry.trigger_words);
  json["trigger_candidates"] = words(entry.trigger_candidates);
  json["frequent_tags"] = tags(entry);
  json["tags"] = entry.tags;
  json["recommended_weight"] = number_or_null(entry.recommended_weight);
  json["recommended_weight_source"] = text_or_null(entry.weight_source);
  json["min_weight"] = number_or_null(entry.min_weight);
  json["max_weight"] = number_or_null(entry.max_weight);
  json["text_weight"] = number_or_null(entry.text_weight);
  json["previews"] = entry.previews;
  json["hashes"] = {{"auto_v1", text_or_null(entry.hashes.auto_v1)},
                    {"auto_v2", text_or_null(entry.hashes.auto_v2)},
                    {"auto_v3", text_or_null(entry.hashes.auto_v3.substr(0, 12))},
                    {"sha256", text_or_null(entry.hashes.sha256)}};
  json["claimed_hashes"] = entry.claimed_hashes;
  return json;
}

}  // namespace

std::string to_json(const LibraryEntries& entries) {
  Json json = Json::array();
  for (const auto& entry : entries) json.push_back(to_object(*entry));
  // Paths may hold bytes that are no UTF-8.
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace velatura
