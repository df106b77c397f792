#include "lora/library/names.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <xxhash.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/text.h"
#include "lora/library/clean_text.h"
#include "lora/library/metadata.h"

namespace velatura::lora::library {

namespace {

/// lora-formats §1.20: these words stand for something else in a web UI's list.
constexpr auto kForbiddenAliases = std::to_array<std::string_view>({"none", "addams"});

constexpr std::size_t kFewestHashDigits = 8;

std::string_view without_extension(std::string_view path) {
  const std::size_t dot = path.rfind('.');
  const std::size_t slash = path.rfind('/');
  const bool has_extension =
      dot != path.npos && dot != 0 && (slash == path.npos || dot > slash + 1);
  return has_extension ? path.substr(0, dot) : path;
}

}  // namespace

bool can_be_hash(std::string_view text) {
  const std::string hex = lowered(text);
  return hex.size() >= kFewestHashDigits && hex.size() <= 64 &&
         hex.find_first_not_of("0123456789abcdef") == hex.npos && !is_hash_of_nothing(hex);
}

NameTable::Row NameTable::row_of(std::string_view text, Position position) {
  return {XXH3_64bits(text.data(), text.size()), text, position};
}

NameTable::NameTable(const LibraryEntries& entries) : entries_(entries) {
  names_.reserve(entries.size());
  paths_.reserve(2 * entries.size());
  aliases_.reserve(2 * entries.size());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const LibraryEntry& entry = *entries[i];
    const auto at = static_cast<Position>(i);
    names_.push_back(row_of(entry.name, at));
    paths_.push_back(row_of(entry.relative_path, at));
    if (const auto bare = without_extension(entry.relative_path); bare != entry.relative_path)
      paths_.push_back(row_of(bare, at));
    for (const std::string* alias : {&entry.output_name, &entry.title}) {
      if (!alias->empty() &&
          std::ranges::find(kForbiddenAliases, lowered(*alias)) == kForbiddenAliases.end())
        aliases_.push_back(row_of(*alias, at));
    }
    const FileHashValues& hashes = entry.hashes;
    for (const std::string* hash : {&hashes.sha256, &hashes.auto_v1, &hashes.auto_v3}) {
      if (!hash->empty()) hashes_.emplace_back(*hash, at);
    }
    for (const std::string& hash : entry.claimed_hashes) hashes_.emplace_back(hash, at);
  }
  const auto sort = [](auto& rows) {
    std::ranges::sort(rows);
    rows.erase(std::ranges::unique(rows).begin(), rows.end());
  };
  for (Rows* rows : {&paths_, &names_, &aliases_}) sort(*rows);
  sort(hashes_);
}

NameTable::Found NameTable::equal(const Rows& rows, std::string_view key) {
  Found found;
  for (const Row& row : std::ranges::equal_range(rows, row_of(key, 0).hash, {}, &Row::hash)) {
    if (row.text == key) found.push_back(row.position);
  }
  return found;
}

NameTable::Found NameTable::by_path(std::string_view name) const {
  Found found = equal(paths_, name);
  if (found.empty() && name.find('\\') != name.npos) {
    std::string slashed(name);
    std::ranges::replace(slashed, '\\', '/');
    found = equal(paths_, slashed);
  }
  if (found.empty() && name.starts_with('/')) {
    for (Position i = 0; i < entries_.size(); ++i) {
      if (entries_[i]->path == name) found.push_back(i);
    }
  }
  // The same path in several roots: the first root's is meant, as on a search path.
  if (found.size() > 1 && std::ranges::all_of(found, [&](Position at) {
        return at == found[0] || entries_[at]->root != entries_[found[0]]->root;
      }))
    found.resize(1);
  return found;
}

NameTable::Found NameTable::by_name(std::string_view name) const {
  Found found = equal(names_, name);
  if (!found.empty()) return found;
  found = equal(names_, without_extension(name));
  std::erase_if(found, [&](Position at) { return entries_[at]->path.filename() != name; });
  return found;
}

NameTable::Found NameTable::by_alias(std::string_view name) const {
  return equal(aliases_, name);
}

NameTable::Found NameTable::by_hash(std::string_view name) const {
  if (!can_be_hash(name)) return {};
  const std::string hex = lowered(name);
  constexpr auto text_of = &std::pair<std::string_view, Position>::first;
  Found found;
  const auto end = [&] {
    std::string next = hex;
    ++next.back();
    return std::ranges::lower_bound(hashes_, std::string_view(next), {}, text_of);
  }();
  for (auto at = std::ranges::lower_bound(hashes_, std::string_view(hex), {}, text_of); at != end;
       ++at) {
    if (at->first.starts_with(hex)) found.push_back(at->second);
  }
  // A stated hash may be shorter than what was asked for: 10 or 12 digits of 64.
  for (const std::size_t length : {std::size_t{8}, std::size_t{10}, std::size_t{12}}) {
    if (!found.empty() || hex.size() <= length) continue;
    const std::string_view shorter = std::string_view(hex).substr(0, length);
    for (const auto& [text, at] : std::ranges::equal_range(hashes_, shorter, {}, text_of))
      found.push_back(at);
  }
  std::ranges::sort(found);
  found.erase(std::ranges::unique(found).begin(), found.end());
  return found;
}

NameTable::Found NameTable::without_case(std::string_view name) const {
  Found found;
  const std::string wanted = lowered(name);
  for (Position i = 0; i < entries_.size(); ++i) {
    const LibraryEntry& entry = *entries_[i];
    if (lowered(entry.name) == wanted || lowered(without_extension(entry.relative_path)) == wanted)
      found.push_back(i);
  }
  for (const Row& alias : aliases_) {
    if (lowered(alias.text) == wanted) found.push_back(alias.position);
  }
  std::ranges::sort(found);
  found.erase(std::ranges::unique(found).begin(), found.end());
  return found;
}

std::size_t NameTable::only(Found found, std::string_view name, std::string_view what) const {
  if (found.size() > 1) {  // one that cannot be used is not meant
    Found usable = found;
    std::erase_if(usable, [&](Position at) { return !entries_[at]->problem.empty(); });
    if (!usable.empty()) found = std::move(usable);
  }
  if (found.size() > 1) {  // of several roots the first is meant
    const std::filesystem::path& first = entries_[found[0]]->root;
    std::erase_if(found, [&](Position at) { return entries_[at]->root != first; });
  }
  if (found.size() == 1) return found[0];
  constexpr std::size_t kShown = 3;
  std::vector<std::string> paths;
  for (const Position at : std::span(found).first(std::min(found.size(), kShown)))
    paths.push_back(fmt::format("\"{}\"", without_extension(entries_[at]->relative_path)));
  fail(ErrorKind::invalid_argument, "LoRA \"{}\" is {} {} files: say which by its path, {}{}", name,
       what, found.size(), fmt::join(paths, ", "), found.size() > kShown ? " …" : "");
}

void NameTable::fail_unknown(std::string_view name) const {
  if (entries_.empty()) {
    fail(ErrorKind::not_found,
         "LoRA \"{}\" was not found: the model folders hold none at all (add one with --models "
         "DIR)",
         name);
  }
  std::vector<std::string> known;
  const bool is_path = name.find('/') != name.npos;
  for (const auto& entry : entries_)
    known.emplace_back(is_path ? without_extension(entry->relative_path) : entry->name);
  for (const Row& row : aliases_) known.emplace_back(row.text);
  std::ranges::sort(known);
  known.erase(std::ranges::unique(known).begin(), known.end());
  fail(ErrorKind::not_found, "LoRA \"{}\" was not found; nearest names: {}", name,
       fmt::join(nearest_names(name, known, 3), ", "));
}

std::size_t NameTable::find(std::string_view name) const {
  if (name.empty()) fail(ErrorKind::invalid_argument, "the name of a LoRA is empty");
  constexpr std::size_t kLongest = 4096;
  if (name.size() > kLongest)
    fail(ErrorKind::invalid_argument, "the name of a LoRA has {} bytes, at most {} are allowed",
         name.size(), kLongest);
  struct Step {
    Found (NameTable::*search)(std::string_view) const;
    std::string_view what;
  };
  static constexpr auto kSteps =
      std::to_array<Step>({{&NameTable::by_path, "the path of"},
                           {&NameTable::by_name, "the name of"},
                           {&NameTable::by_alias, "the title of"},
                           {&NameTable::by_hash, "the hash of"},
                           {&NameTable::without_case, "in other letter case the name of"}});
  for (const Step& step : kSteps) {
    Found found = (this->*step.search)(name);
    if (!found.empty()) return only(std::move(found), name, step.what);
  }
  fail_unknown(name);
}

}  // namespace velatura::lora::library
