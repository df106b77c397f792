#include "lora/library/tag_table.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "lora/library/clean_text.h"

namespace velatura::lora::library {

namespace {

using Json = nlohmann::json;

constexpr std::size_t kLongestTag = 200;
/// Of different tags; real tables have at most some 100,000.
constexpr std::size_t kMostTags = 1'000'000;
constexpr std::size_t kMostOnEveryPicture = 32;

/// Walks {outer: {inner: number}} and hands each number on.
class NumberWalker : public nlohmann::json_sax<Json> {
 public:
  virtual void number(const std::string& outer, const std::string& inner, std::int64_t value) = 0;

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t value) override { return take(value); }
  bool number_unsigned(number_unsigned_t value) override {
    return take(static_cast<std::int64_t>(std::min<number_unsigned_t>(value, kLargest)));
  }
  bool number_float(number_float_t, const std::string&) override { return true; }
  bool string(std::string&) override { return true; }
  bool binary(Json::binary_t&) override { return false; }
  bool start_object(std::size_t) override { return ++depth_ < kDeepest; }
  bool end_object() override { return --depth_, true; }
  bool start_array(std::size_t) override { return ++arrays_, ++depth_ < kDeepest; }
  bool end_array() override { return --arrays_, --depth_, true; }
  bool key(std::string& name) override {
    if (depth_ == 1) outer_ = name;
    if (depth_ == 2) inner_ = name;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

 private:
  static constexpr number_unsigned_t kLargest = 1'000'000'000'000;
  static constexpr int kDeepest = 16;
  bool take(std::int64_t value) {
    if (depth_ == 2 && arrays_ == 0) number(outer_, inner_, value);
    return true;
  }
  int depth_ = 0;   ///< objects and arrays
  int arrays_ = 0;  ///< of them arrays
  std::string outer_, inner_;
};

class PictureCounts : public NumberWalker {
 public:
  void number(const std::string& folder, const std::string& key, std::int64_t value) override {
    if (key == "img_count" && counts.size() < kMostTags) counts[folder] = value;
  }
  std::unordered_map<std::string, std::int64_t> counts;
};

/// "16_smf girl" → "smf girl": the number says how often the folder is repeated.
std::string_view without_repeats(std::string_view folder) {
  const std::size_t end = folder.find_first_not_of("0123456789");
  return end != 0 && end != folder.npos && folder[end] == '_' ? folder.substr(end + 1) : folder;
}

class Tags : public NumberWalker {
 public:
  explicit Tags(const PictureCounts& pictures) : pictures_(pictures) {}

  void number(const std::string& folder, const std::string& raw, std::int64_t count) override {
    const std::string tag = clean_line(raw, kLongestTag);
    if (tag.empty() || count <= 0) return;
    const auto found = positions_.find(tag);
    if (found != positions_.end()) {
      tags_[found->second].count += count;
    } else if (tags_.size() < kMostTags) {
      positions_.emplace(tag, tags_.size());
      tags_.push_back({tag, count});
    }
    // Without a count of pictures, a tag called like its folder is what ai-toolkit writes.
    const auto pictures = pictures_.counts.find(folder);
    const bool on_every = pictures == pictures_.counts.end()
                              ? tag == without_repeats(folder)
                              : pictures->second > 1 && count == pictures->second;
    if (on_every && on_every_.size() < kMostOnEveryPicture &&
        std::ranges::find(on_every_, tag) == on_every_.end())
      on_every_.push_back(tag);
  }

  TagTable finish(std::size_t max_tags) {
    std::ranges::stable_sort(tags_, std::greater(), &TagCount::count);
    if (tags_.size() > max_tags) tags_.resize(max_tags);
    tags_.shrink_to_fit();
    return {std::move(tags_), std::move(on_every_)};
  }

 private:
  const PictureCounts& pictures_;
  std::unordered_map<std::string, std::size_t> positions_;
  std::vector<TagCount> tags_;
  std::vector<std::string> on_every_;
};

}  // namespace

TagTable read_tag_table(std::string_view frequency, std::string_view folders,
                        std::size_t max_tags) {
  PictureCounts pictures;
  Json::sax_parse(folders.begin(), folders.end(), &pictures);
  Tags tags(pictures);
  Json::sax_parse(frequency.begin(), frequency.end(), &tags);
  return tags.finish(max_tags);
}

}  // namespace velatura::lora::library
