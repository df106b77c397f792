// The friendly page of an adapter file: what it says of itself, what it is, where it acts.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file_hash.h"
#include "base/stop_token.h"
#include "base/text.h"
#include "engine/lora_tools/model_names.h"
#include "lora/library/clean_text.h"
#include "lora/library/metadata.h"
#include "lora/tools/block_map.h"
#include "lora/tools/check_text.h"
#include "models/families.h"

namespace velatura {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

using lora::tools::Account;

struct FactRow {
  const char* key;
  const char* label;
};
/// What a header tells of training that people ask for (lora-formats §4.1), in reading order.
constexpr auto kFacts = std::to_array<FactRow>({
    {"ss_sd_model_name", "trained on"},
    {"ss_base_model_version", "base version"},
    {"modelspec.architecture", "architecture"},
    {"ss_network_module", "network"},
    {"ss_network_dim", "dim"},
    {"ss_network_alpha", "alpha"},
    {"ss_num_train_images", "images"},
    {"ss_steps", "steps"},
    {"ss_epoch", "epoch"},
    {"ss_resolution", "resolution"},
    {"ss_total_batch_size", "batch"},
    {"ss_unet_lr", "learning rate"},
    {"ss_text_encoder_lr", "text learning rate"},
    {"ss_optimizer", "optimizer"},
    {"ss_lr_scheduler", "scheduler"},
    {"ss_noise_offset", "noise offset"},
    {"ss_clip_skip", "clip skip"},
    {"ss_seed", "seed"},
    {"modelspec.date", "date"},
    {"software", "software"},
});
constexpr std::size_t kLongestFact = 120;
constexpr std::size_t kLongestText = 400;

using Facts = std::vector<std::pair<std::string, std::string>>;

Facts training_facts(const std::map<std::string, std::string>& header) {
  Facts facts;
  for (const FactRow& row : kFacts) {
    const auto found = header.find(row.key);
    if (found == header.end()) continue;
    std::string value = lora::library::clean_line(found->second, kLongestFact);
    if (!value.empty() && value != "None") facts.emplace_back(row.label, std::move(value));
  }
  return facts;
}

struct Hashes {
  std::string auto_v1, auto_v2, auto_v3, sha256;
};

Hashes hashes_of(const fs::path& path, std::uintmax_t bytes, const StopToken& stop) {
  FileHashes hashes;
  Hashes found;
  found.sha256 = hashes.get(path, HashedPart::whole, stop);
  found.auto_v2 = found.sha256.substr(0, 10);
  found.auto_v3 = hashes.auto_v3(path, stop);
  constexpr std::uintmax_t kLegacyBegin = 0x100000;  // of a shorter file it is the hash of nothing
  if (bytes > kLegacyBegin) found.auto_v1 = hashes.legacy(path, stop);
  return found;
}

/// The file behind a page: a folder that PEFT wrote has its weights inside.
fs::path weights_file(const lora::AdapterFile& file) {
  std::error_code ignored;
  const fs::path described = file.source().description();
  return fs::is_regular_file(described, ignored) ? described : file.path();
}

struct Page {
  Account account;
  lora::FileMetadata metadata;
  lora::tools::BlockMap map;
  fs::path path;
  std::uintmax_t bytes = 0;
  Hashes hashes;
  Facts facts;
};

class Lines {
 public:
  void add(std::string_view label, std::string_view value) {
    if (!value.empty()) text += fmt::format("  {:<14}{}\n", label, value);
  }
  std::string text;
};

std::string weight_line(const lora::FileMetadata& metadata) {
  std::string line;
  if (metadata.recommended_weight) {
    line = fmt::format("{:.6g}{}", *metadata.recommended_weight,
                       metadata.weight_source.empty() ? "" : " (" + metadata.weight_source + ")");
  }
  if (metadata.min_weight && metadata.max_weight) {
    line += fmt::format("{}{:.6g} to {:.6g}", line.empty() ? "" : ", ", *metadata.min_weight,
                        *metadata.max_weight);
  }
  return line;
}

std::string sourced_list(const std::vector<SourcedText>& texts) {
  std::vector<std::string> parts;
  for (const SourcedText& text : texts)
    parts.push_back(fmt::format("{} [{}]", text.text, text.source));
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string tags_line(const std::vector<TagCount>& tags) {
  std::vector<std::string> parts;
  for (const TagCount& tag : tags) parts.push_back(fmt::format("{} {}", tag.tag, tag.count));
  return fmt::format("{}", fmt::join(parts, ", "));
}

/// As typed in a prompt.
std::string name_of(const Page& page) {
  return lora::library::clean_line(page.path.stem().string(), kLongestText);
}

std::string to_text(const Page& page) {
  const lora::FileMetadata& metadata = page.metadata;
  const Account& account = page.account;
  Lines lines;
  lines.text = metadata.title + '\n';
  lines.add("in a prompt", fmt::format("<lora:{}>", name_of(page)));
  lines.add("file", fmt::format("{}, {}", page.path.string(), size_text(page.bytes)));
  lines.add("family", account.family.empty() ? std::string_view(account.foreign)
                                             : lora::family_title(account.family));
  if (!account.refusal.empty())
    lines.add("not usable", lora::library::clean_line(account.refusal, kLongestText));
  lines.add("algorithms", fmt::format("{}", fmt::join(lora::tools::kinds_of(account), ", ")));
  lines.add("dialects", fmt::format("{}", fmt::join(account.report.dialects, ", ")));
  lines.add("base", metadata.base_model);
  lines.add("author", metadata.author);
  lines.add("trigger words", sourced_list(metadata.triggers));
  lines.add("maybe", sourced_list(metadata.trigger_candidates));
  lines.add("weight", weight_line(metadata));
  lines.add("tags", fmt::format("{}", fmt::join(metadata.tags, ", ")));
  lines.add("frequent", tags_line(metadata.frequent_tags));
  lines.add("description", lora::library::clean_line(metadata.description, kLongestText));
  lines.add("notes", lora::library::clean_line(metadata.notes, kLongestText));
  lines.add("previews", fmt::format("{}", fmt::join(metadata.previews, ", ")));
  lines.add("AutoV1", page.hashes.auto_v1);
  lines.add("AutoV2", page.hashes.auto_v2);
  lines.add("AutoV3", page.hashes.auto_v3);
  std::vector<std::string> facts;
  for (const auto& [label, value] : page.facts) facts.push_back(label + " " + value);
  lines.add("training", fmt::format("{}", fmt::join(facts, "; ")));
  for (const lora::tools::Finding& finding : account.findings) {
    if (finding.is_warning) lines.add("!", lora::library::clean_line(finding.text, kLongestText));
  }
  lines.text.pop_back();
  return lines.text;
}

Json to_json(const std::vector<SourcedText>& texts) {
  Json list = Json::array();
  for (const SourcedText& text : texts)
    list.push_back({{"text", text.text}, {"source", text.source}});
  return list;
}

Json to_json(const std::optional<double>& value) {
  return value ? Json(*value) : Json();
}

Json blocks_json(const std::vector<LoraBlock>& blocks, bool is_relative) {
  Json list = Json::array();
  for (const LoraBlock& block : blocks) {
    list.push_back({{"component", block.component},
                    {"block", block.name},
                    {"modules", block.modules},
                    {"norm", block.norm},
                    {"relative", is_relative ? Json(block.relative) : Json()}});
  }
  return list;
}

std::string to_json(const Page& page, const LoraPage& shown) {
  const lora::FileMetadata& metadata = page.metadata;
  const Account& account = page.account;
  Json json;
  json["path"] = page.path.string();
  json["bytes"] = page.bytes;
  json["name"] = name_of(page);
  json["title"] = metadata.title;
  json["family"] = account.family.empty() ? Json() : Json(account.family);
  json["foreign"] = account.foreign.empty() ? Json() : Json(account.foreign);
  json["refusal"] = account.refusal;
  json["dialect"] = account.report.dialects;
  json["modules"] = account.report.bound_modules();
  json["algorithms"] = account.report.algorithms;
  json["ranks"] = {account.report.min_rank, account.report.max_rank};
  json["base_model"] = metadata.base_model;
  json["author"] = metadata.author;
  json["trigger_words"] = to_json(metadata.triggers);
  json["trigger_candidates"] = to_json(metadata.trigger_candidates);
  json["frequent_tags"] = Json::array();
  for (const TagCount& tag : metadata.frequent_tags)
    json["frequent_tags"].push_back({{"tag", tag.tag}, {"count", tag.count}});
  json["recommended_weight"] = to_json(metadata.recommended_weight);
  json["weight_source"] = metadata.weight_source;
  json["min_weight"] = to_json(metadata.min_weight);
  json["max_weight"] = to_json(metadata.max_weight);
  json["tags"] = metadata.tags;
  json["description"] = metadata.description;
  json["notes"] = metadata.notes;
  json["previews"] = metadata.previews;
  json["hashes"] = {{"auto_v1", page.hashes.auto_v1},
                    {"auto_v2", page.hashes.auto_v2},
                    {"auto_v3", page.hashes.auto_v3},
                    {"sha256", page.hashes.sha256}};
  json["claimed_hashes"] = metadata.claimed_hashes;
  json["training"] = Json::object();
  for (const auto& [label, value] : page.facts) json["training"][label] = value;
  json["blocks"] = blocks_json(shown.blocks, shown.is_relative);
  json["blocks_remark"] = shown.remark;
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// `typed` is what the user called the file.
Account account_of(const fs::path& path, const fs::path& typed, const LoraModel& model) {
  const auto file = lora::AdapterFile::open(path);
  if (!model.name.empty()) return lora::tools::account_for(file, engine::names_of(model), false);
  const lora::FamilyVerdict verdict = lora::detect_family(*file);
  if (!verdict.id.empty() && verdict.is_adapter) {
    Account account = lora::tools::account_for(file, engine::published_names(verdict.id), false);
    if (account.refusal.empty()) return account;
    const std::string hint =
        engine::hint_at_model(*file, model, std::array<std::string, 2>{"info", typed.string()});
    // The hint first: long texts are cut.
    account.refusal =
        fmt::format("on {}; {}; {}", account.model,
                    hint.empty() ? "--model MODEL looks at it on another" : hint, account.refusal);
    return account;
  }
  return lora::tools::account_of_refused(
      file, path.filename().string(),
      verdict.name.empty()
          ? std::string("nothing in it shows which model it is for: give --model")
          : fmt::format("it is {}{} ({})", verdict.is_adapter ? "an adapter of " : "no adapter: ",
                        verdict.name, verdict.evidence));
}

}  // namespace

LoraPage describe_lora(const fs::path& file, const LoraModel& model, std::stop_token stop) {
  Page page;
  page.path = engine::find_adapter(file, model);
  page.account = account_of(page.path, file, model);
  throw_if_stopped(stop);
  const lora::AdapterFile& adapter = *page.account.source;
  const auto& header = adapter.source().metadata();
  page.metadata = lora::read_metadata(page.path, header);
  page.facts = training_facts(header);
  const fs::path weights = weights_file(adapter);
  std::error_code error;
  page.bytes = fs::file_size(weights, error);
  if (error) page.bytes = 0;
  page.hashes = hashes_of(weights, page.bytes, stop);
  if (page.account.bound)
    page.map = lora::tools::block_map(*page.account.bound, page.account.names->components, stop);

  LoraPage shown;
  shown.text = to_text(page);
  shown.is_relative = page.map.is_relative;
  for (const lora::tools::BlockNorm& block : page.map.blocks) {
    shown.blocks.push_back({.component = block.component,
                            .name = block.name,
                            .modules = block.layers,
                            .norm = block.norm(),
                            .relative = block.relative()});
  }
  if (page.map.unknown > 0) {
    shown.remark = fmt::format(
        "{} layers are left out: what these kinds do depends on the model's weights; give --model",
        page.map.unknown);
  }
  shown.json = to_json(page, shown);
  return shown;
}

}  // namespace velatura
