#include "lora/library/metadata.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <span>

#include "base/text.h"
#include "lora/library/clean_text.h"
#include "lora/library/tag_table.h"

namespace velatura::lora {

namespace fs = std::filesystem;
using library::clean_line;
using library::clean_lines;
using library::NoteKind;
using library::split_list;
using library::stripped;
using library::text_of_html;

namespace {

using Json = nlohmann::json;
using Header = std::map<std::string, std::string>;

constexpr std::size_t kLongestName = 200;
/// Words, tags and hashes a file may have of each kind; real files have some dozens.
constexpr std::size_t kLongestList = 256;
constexpr std::size_t kLargestJson = std::size_t{1} << 20;

std::optional<double> number_in(std::string_view text) {
  text = stripped(text);
  double value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    return std::nullopt;
  return value;
}

/// The member `key` of an object; null for anything else.
const Json& member(const Json& json, const char* key) {
  static const Json kNone;
  if (!json.is_object()) return kNone;
  const auto found = json.find(key);
  return found == json.end() ? kNone : *found;
}

std::optional<double> number_in(const Json& json, const char* key) {
  const Json& value = member(json, key);
  if (value.is_number()) {
    const double number = value.get<double>();
    return std::isfinite(number) ? std::optional(number) : std::nullopt;
  }
  return value.is_string() ? number_in(value.get_ref<const std::string&>()) : std::nullopt;
}

std::string_view text_in(const Json& json, const char* key) {
  const Json& value = member(json, key);
  return value.is_string() ? std::string_view(value.get_ref<const std::string&>())
                           : std::string_view();
}

/// nullopt-like null where the text is no JSON object.
Json parse_object(std::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return {};
  return json;  // moved: copying what nests a million deep would overflow the stack
}

class Reader {
 public:
  Reader(const fs::path& path, const Header& header, const MetadataBounds& bounds)
      : path_(path), header_(header), bounds_(bounds) {}

  FileMetadata read(const library::Sidecars& sidecars) {
    read_names();
    read_header_weight();
    read_header_words();
    read_notes(sidecars);
    read_hints();
    read_header_hashes();
    read_previews(sidecars);
    if (data_.title.empty()) data_.title = clean_line(path_.stem().string(), kLongestName);
    for (const SourcedText& word : data_.triggers) data_.trigger_words.push_back(word.text);
    return std::move(data_);
  }

 private:
  std::string_view value(const char* key) const {
    const auto found = header_.find(key);
    return found == header_.end() ? std::string_view() : std::string_view(found->second);
  }

  /// Takes the first text that is not empty.
  void take_name(std::string& field, std::string_view text) {
    if (field.empty() && text != "None") field = clean_line(text, kLongestName);
  }
  void take_text(std::string& field, std::string_view text) {
    if (field.empty()) field = clean_lines(text_of_html(text), bounds_.text_bytes);
  }
  void take_weight(std::optional<double> weight, std::string_view source) {
    if (!weight || data_.recommended_weight) return;
    data_.recommended_weight = weight;
    data_.weight_source = source;
  }

  static void add_word(std::vector<SourcedText>& words, std::string_view raw,
                       std::string_view source) {
    std::string word = clean_line(raw, kLongestName);
    if (!word.empty() && words.size() < kLongestList &&
        std::ranges::find(words, word, &SourcedText::text) == words.end())
      words.push_back({std::move(word), std::string(source)});
  }
  void add_trigger_list(std::string_view list, std::string_view source) {
    constexpr std::size_t kLongestText = 20'000;
    for (const std::string_view word : split_list(list.substr(0, kLongestText), ','))
      add_word(data_.triggers, word, source);
  }
  /// A text with commas, or a list of them.
  void add_triggers(const Json& words, std::string_view source) {
    if (words.is_string()) add_trigger_list(words.get_ref<const std::string&>(), source);
    if (!words.is_array()) return;
    for (std::size_t i = 0; i < std::min(words.size(), kLongestList); ++i) {
      if (words[i].is_string()) add_trigger_list(words[i].get_ref<const std::string&>(), source);
    }
  }
  void add_tag(std::string_view raw) {
    std::string tag = clean_line(raw, kLongestName);
    if (!tag.empty() && data_.tags.size() < kLongestList &&
        std::ranges::find(data_.tags, tag) == data_.tags.end())
      data_.tags.push_back(std::move(tag));
  }
  void add_tags(const Json& tags) {
    if (!tags.is_array()) return;
    for (std::size_t i = 0; i < std::min(tags.size(), kLongestList); ++i) {
      if (tags[i].is_string()) add_tag(tags[i].get_ref<const std::string&>());
    }
  }
  void add_hash(std::string_view text) {
    text = stripped(text);
    if (text.starts_with("0x")) text.remove_prefix(2);
    std::string hash = lowered(text.substr(0, 65));
    if (hash.size() < 8 || hash.size() > 64 || is_hash_of_nothing(hash) ||
        hash.find_first_not_of("0123456789abcdef") != hash.npos ||
        data_.claimed_hashes.size() >= kLongestList ||
        std::ranges::find(data_.claimed_hashes, hash) != data_.claimed_hashes.end())
      return;
    data_.claimed_hashes.push_back(std::move(hash));
  }

  void read_names() {
    for (const char* key : {"name", "modelspec.title", "ss_output_name", "ssmd_display_name"})
      take_name(data_.title, value(key));
    take_name(data_.output_name, value("ss_output_name"));
    for (const char* key : {"modelspec.architecture", "ss_base_model_version"})
      take_name(data_.base_model, value(key));
    for (const char* key : {"modelspec.author", "ssmd_author"}) take_name(data_.author, value(key));
    for (const char* key : {"modelspec.description", "ssmd_description"})
      take_text(data_.description, value(key));
    data_.network_alpha = number_in(value("ss_network_alpha"));
    for (const char* key : {"modelspec.tags", "ssmd_tags", "ssmd_keywords"}) {
      for (const std::string_view tag : split_list(value(key).substr(0, 20'000), ',')) add_tag(tag);
    }
  }

  void read_header_weight() {
    for (const char* key : {"recommended_weight", "preferred_weight", "default_weight", "strength",
                            "default_strength", "multiplier", "scale"})
      take_weight(number_in(value(key)), key);
    if (const std::string_view text = value("modelspec.metadata"); text.size() <= kLargestJson)
      take_weight(number_in(parse_object(text), "preferred_weight"), "modelspec.metadata");
    for (const char* key : {"modelspec.lora_default_weight", "lora_default_weight"})
      take_weight(number_in(value(key)), key);
  }

  void read_header_words() {
    for (const char* key : {"trigger_word", "trigger_words", "activation_text",
                            "modelspec.trigger_phrase", "trigger_phrase"})
      add_trigger_list(value(key), key);
  }

  void read_notes(const library::Sidecars& sidecars) {
    for (const auto& [name, kind] : sidecars.notes) {
      const std::optional<std::string> text = library::read_note(path_.parent_path() / name);
      if (!text) continue;
      if (kind == NoteKind::text) {
        read_text(*text, name);
        continue;
      }
      const Json json = parse_object(*text);
      if (json.is_null()) continue;
      switch (kind) {
        case NoteKind::web_ui:
          read_web_ui(json, name);
          break;
        case NoteKind::civitai:
          read_civitai(json, name);
          break;
        case NoteKind::manager:
          read_manager(json, name);
          break;
        case NoteKind::stability:
          read_stability(json, name);
          break;
        case NoteKind::swarm:
          read_swarm(json, name);
          break;
        case NoteKind::peft:
          read_peft(json);
          break;
        case NoteKind::text:
          break;
      }
    }
  }

  void read_web_ui(const Json& json, const std::string& name) {
    add_triggers(member(json, "activation text"), name);
    const std::optional<double> weight = number_in(json, "preferred weight");
    if (weight != 0.0) take_weight(weight, name);  // web UIs write 0 for "not set"
    take_text(data_.description, text_in(json, "description"));
    take_text(data_.notes, text_in(json, "notes"));
    take_text(data_.negative_text, text_in(json, "negative text"));
    if (text_in(json, "sd version") != "Unknown")
      take_name(data_.base_model, text_in(json, "sd version"));
  }

  void read_civitai(const Json& json, const std::string& name) {
    add_triggers(member(json, "trainedWords"), name);
    take_name(data_.base_model, text_in(json, "baseModel"));
    take_text(data_.description, text_in(json, "description"));
    take_text(data_.description, text_in(member(json, "model"), "description"));
    add_tags(member(json, "tags"));
    add_tags(member(member(json, "model"), "tags"));
    const Json& files = member(json, "files");
    if (!files.is_array() || files.size() != 1) return;  // of several, whose hashes are they?
    for (const char* key : {"SHA256", "AutoV3", "AutoV2"})
      add_hash(text_in(member(files[0], "hashes"), key));
  }

  void read_manager(const Json& json, const std::string& name) {
    add_triggers(member(member(json, "civitai"), "trainedWords"), name);
    add_tags(member(json, "tags"));
    take_text(data_.notes, text_in(json, "notes"));
    take_text(data_.description, text_in(json, "modelDescription"));
    take_name(data_.base_model, text_in(json, "base_model"));
    take_name(data_.title, text_in(json, "model_name"));
    add_hash(text_in(json, "sha256"));
    add_hash(text_in(json, "autov3"));
    const std::string_view tips_text = text_in(json, "usage_tips");
    if (tips_text.empty() || tips_text.size() > kLargestJson) return;
    const Json tips = parse_object(tips_text);
    take_weight(number_in(tips, "strength"), name);
    data_.min_weight = number_in(tips, "strength_min");
    data_.max_weight = number_in(tips, "strength_max");
    data_.text_weight = number_in(tips, "clip_strength");
  }

  void read_stability(const Json& json, const std::string& name) {
    add_triggers(member(json, "TrainedWords"), name);
    take_name(data_.title, text_in(json, "UserTitle"));
    take_name(data_.title, text_in(json, "ModelName"));
    take_text(data_.description, text_in(json, "ModelDescription"));
  }

  void read_swarm(const Json& json, const std::string& name) {
    for (const char* key : {"modelspec.trigger_phrase", "trigger_phrase"})
      add_triggers(member(json, key), name);
    for (const char* key : {"modelspec.lora_default_weight", "lora_default_weight"})
      take_weight(number_in(json, key), name);
    take_name(data_.title, text_in(json, "modelspec.title"));
    take_text(data_.description, text_in(json, "modelspec.description"));
  }

  void read_peft(const Json& json) {
    take_name(data_.base_model, text_in(json, "base_model_name_or_path"));
    if (!data_.network_alpha) data_.network_alpha = number_in(json, "lora_alpha");
  }

  void read_text(const std::string& text, const std::string& name) {
    constexpr std::size_t kLongestHint = 200;
    const std::string_view line = stripped(text);
    take_text(data_.description, line);
    if (line.size() <= kLongestHint && line.find('\n') == line.npos)
      add_word(data_.trigger_candidates, line, name);
  }

  void read_hints() {
    std::vector<SourcedText> hints;
    for (const char* key : {"modelspec.usage_hint", "ss_training_comment"}) {
      if (value(key) != "None") add_word(hints, value(key), key);
    }
    library::TagTable table = library::read_tag_table(
        value("ss_tag_frequency"), value("ss_dataset_dirs"), bounds_.frequent_tags);
    data_.frequent_tags = std::move(table.tags);
    for (const std::string& tag : table.on_every_picture) add_word(hints, tag, "ss_tag_frequency");
    hints.insert(hints.end(), data_.trigger_candidates.begin(), data_.trigger_candidates.end());
    std::erase_if(hints, [&](const SourcedText& hint) {
      return std::ranges::find(data_.triggers, hint.text, &SourcedText::text) !=
             data_.triggers.end();
    });
    data_.trigger_candidates = std::move(hints);
  }

  void read_header_hashes() {
    for (const char* key : {"sshs_model_hash", "modelspec.hash_sha256"}) add_hash(value(key));
  }

  void read_previews(const library::Sidecars& sidecars) {
    data_.previews = sidecars.previews;
    for (const char* key :
         {"modelspec.thumbnail", "modelspec.preview_image", "ssmd_cover_images"}) {
      if (value(key).size() > 4) data_.previews.push_back(std::string("header:") + key);
    }
  }

  const fs::path& path_;
  const Header& header_;
  const MetadataBounds& bounds_;
  FileMetadata data_;
};

}  // namespace

FileMetadata read_metadata(const fs::path& path, const Header& header,
                           const library::Sidecars& sidecars, const MetadataBounds& bounds) {
  return Reader(path, header, bounds).read(sidecars);
}

FileMetadata read_metadata(const fs::path& path, const Header& header) {
  std::error_code error;
  const fs::path stem = library::sidecar_stem(path, fs::is_directory(path, error));
  return read_metadata(path, header,
                       library::find_sidecars(stem.filename().string(), [&](const auto& name) {
                         return fs::is_regular_file(path.parent_path() / name, error);
                       }));
}

bool is_hash_of_nothing(std::string_view hex) {
  constexpr std::string_view kNothing =
      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  return !hex.empty() && kNothing.starts_with(hex);
}

}  // namespace velatura::lora
