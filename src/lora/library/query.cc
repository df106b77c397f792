#include "lora/library/query.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/text.h"
#include "lora/library/clean_text.h"

namespace velatura::lora::library {

namespace {

/// What people write for a family's identifier.
constexpr std::array<std::pair<std::string_view, std::string_view>, 12> kFamilySpellings = {
    {{"sd1", "sd15"},
     {"sd1x", "sd15"},
     {"sdv1", "sd15"},
     {"sd15", "sd15"},
     {"stablediffusion15", "sd15"},
     {"xl", "sdxl"},
     {"sdxl10", "sdxl"},
     {"flux1", "flux"},
     {"flux1dev", "flux"},
     {"fluxdev", "flux"},
     {"z", "zimage"},
     {"zimageturbo", "zimage"}}};

std::string family_key(std::string_view family) {
  const std::string key = squeezed(family);
  for (const auto& [spelling, id] : kFamilySpellings) {
    if (spelling == key) return std::string(id);
  }
  return key;
}

class Matcher {
 public:
  explicit Matcher(const LibraryQuery& query)
      : query_(query),
        family_(family_key(query.family)),
        algorithm_(squeezed(query.algorithm)),
        tag_(lowered(stripped(query.tag))) {
    for (const std::string_view word : split_list(query.text, ' ')) words_.push_back(lowered(word));
  }

  bool operator()(const LibraryEntry& entry) const {
    if (query_.problems_only && entry.problem.empty()) return false;
    if (!family_.empty() && family_key(entry.family) != family_) return false;
    if (query_.min_rank && entry.common_rank < *query_.min_rank) return false;
    if (query_.max_rank && (entry.common_rank > *query_.max_rank || entry.common_rank == 0))
      return false;
    return has_algorithm(entry) && has_tag(entry) && has_words(entry);
  }

 private:
  bool has_algorithm(const LibraryEntry& entry) const {
    return algorithm_.empty() || std::ranges::any_of(entry.algorithms, [&](const auto& name) {
             return squeezed(name).find(algorithm_) != std::string::npos;
           });
  }
  bool has_tag(const LibraryEntry& entry) const {
    const auto is_it = [&](std::string_view text) { return lowered(text) == tag_; };
    return tag_.empty() || std::ranges::any_of(entry.tags, is_it) ||
           std::ranges::any_of(entry.trigger_words, is_it, &SourcedText::text) ||
           std::ranges::any_of(entry.frequent_tags, is_it, &TagCount::tag);
  }
  bool has_words(const LibraryEntry& entry) const {
    return std::ranges::all_of(words_, [&](const auto& word) { return has_word(entry, word); });
  }
  static bool has_word(const LibraryEntry& entry, std::string_view word) {
    const auto holds = [&](std::string_view text) {
      return lowered(text).find(word) != std::string::npos;
    };
    return holds(entry.relative_path) || holds(entry.title) || holds(entry.output_name) ||
           holds(entry.base_model) || holds(entry.author) || holds(entry.description) ||
           holds(entry.notes) || holds(entry.problem) || std::ranges::any_of(entry.tags, holds) ||
           std::ranges::any_of(entry.trigger_words, holds, &SourcedText::text) ||
           std::ranges::any_of(entry.frequent_tags, holds, &TagCount::tag);
  }

  const LibraryQuery& query_;
  std::string family_, algorithm_, tag_;
  std::vector<std::string> words_;
};

using Before = bool (*)(const LibraryEntry&, const LibraryEntry&);

/// nullptr for the order that the library keeps anyway.
Before before(LibraryOrder order) {
  switch (order) {
    case LibraryOrder::name:
      return nullptr;
    case LibraryOrder::family:
      return [](const LibraryEntry& a, const LibraryEntry& b) { return a.family < b.family; };
    case LibraryOrder::rank:
      return [](const LibraryEntry& a, const LibraryEntry& b) {
        return a.common_rank < b.common_rank;
      };
    case LibraryOrder::algorithm:
      return
          [](const LibraryEntry& a, const LibraryEntry& b) { return a.algorithms < b.algorithms; };
    case LibraryOrder::size:
      return [](const LibraryEntry& a, const LibraryEntry& b) { return a.bytes < b.bytes; };
    case LibraryOrder::date:
      return [](const LibraryEntry& a, const LibraryEntry& b) { return a.changed < b.changed; };
  }
  return nullptr;
}

}  // namespace

bool matches(const LibraryEntry& entry, const LibraryQuery& query) {
  return Matcher(query)(entry);
}

LibraryEntries select(const LibraryEntries& entries, const LibraryQuery& query) {
  const Matcher matcher(query);
  LibraryEntries found;
  for (const auto& entry : entries) {
    if (matcher(*entry)) found.push_back(entry);
  }
  if (const Before less = before(query.order)) {
    std::ranges::stable_sort(found, [&](const auto& a, const auto& b) { return less(*a, *b); });
  }
  if (query.reverse) std::ranges::reverse(found);
  if (query.limit > 0 && found.size() > query.limit) found.resize(query.limit);
  return found;
}

}  // namespace velatura::lora::library
