#include "pipelines/prompt/triggers.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/text.h"
#include "tokenizers/unicode.h"

namespace velatura::pipelines::prompt {
namespace {

constexpr std::string_view kPrefix = "embedding:";
constexpr std::array<std::string_view, 4> kExtensions = {".safetensors", ".pt", ".bin", ".ckpt"};

/// ASCII lower case alone, so that offsets stay those of the text.
std::string fold(std::string_view text) {
  std::string folded(text);
  for (char& c : folded) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return folded;
}

bool is_name_character(char32_t c) {
  return tokenizers::is_word(c) || c == '-' || c == '/' || c == '\\';
}

/// Whether a name that ends at byte `end` may end there: not inside a longer name.
bool ends_name(std::string_view text, std::size_t end) {
  if (end == text.size() || text[end - 1] == '>') return true;
  const char32_t next = tokenizers::next_character(text, end);
  if (next != '.') return !is_name_character(next);
  return end == text.size() || !is_name_character(tokenizers::next_character(text, end));
}

bool begins_word(std::string_view text, std::size_t at) {
  if (at == 0) return true;
  std::size_t before = at - 1;
  while (before > 0 && (static_cast<unsigned char>(text[before]) & 0xc0) == 0x80) --before;
  return !tokenizers::is_word(tokenizers::next_character(text, before));
}

}  // namespace

TriggerIndex::TriggerIndex(tokenizers::ClipBpe tokenizer,
                           std::span<const std::vector<std::string>> triggers)
    : tokenizer_(std::move(tokenizer)) {
  for (std::size_t embedding = 0; embedding < triggers.size(); ++embedding) {
    for (const std::string& given : triggers[embedding]) {
      const std::string trigger = tokenizers::sanitise_utf8(given);
      std::vector<std::int32_t> ids = tokenizer_.encode(trigger);
      if (ids.empty()) continue;
      names_.push_back(trigger);
      words_.emplace_back(fold(trigger), embedding);
      by_first_token_[ids.front()].emplace_back(std::move(ids), embedding);
    }
  }
  const auto longer = [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); };
  std::stable_sort(words_.begin(), words_.end(), longer);
  for (auto& [first, matches] : by_first_token_)
    std::stable_sort(matches.begin(), matches.end(), longer);
}

std::optional<TriggerIndex::Match> TriggerIndex::bracketed_at(std::string_view folded,
                                                              std::size_t at) const {
  for (const auto& [word, embedding] : words_) {
    if (word.front() == '<' && word.back() == '>' && folded.substr(at).starts_with(word)) {
      return Match{embedding, at + word.size()};
    }
  }
  return std::nullopt;
}

std::optional<TriggerIndex::Match> TriggerIndex::named_at(std::string_view folded,
                                                          std::size_t at) const {
  if (!folded.substr(at).starts_with(kPrefix) || !begins_word(folded, at)) return std::nullopt;
  const std::size_t begin = at + kPrefix.size();
  for (const auto& [word, embedding] : words_) {
    if (!folded.substr(begin).starts_with(word)) continue;
    std::size_t end = begin + word.size();
    for (const std::string_view extension : kExtensions) {
      if (folded.substr(end).starts_with(extension) && ends_name(folded, end + extension.size())) {
        end += extension.size();
        break;
      }
    }
    if (ends_name(folded, end)) return Match{embedding, end};
  }
  const std::size_t end = std::min(folded.find_first_of(" \t\r\n,", begin), folded.size());
  if (end == begin) return std::nullopt;  // "embedding: …" is plain words
  const std::string_view wanted = folded.substr(begin, end - begin);
  const std::vector<std::string> nearest = nearest_names(wanted, names_);
  fail(ErrorKind::not_found,
       "no embedding '{}'{}{}; put its file under models/embeddings or give --embedding PATH",
       wanted, nearest.empty() ? "" : ", nearest: ", fmt::join(nearest, ", "));
}

std::vector<Unit> TriggerIndex::read(std::string_view text) const {
  const std::string valid = tokenizers::sanitise_utf8(text);
  const std::string folded = fold(valid);
  std::vector<Unit> units;
  std::size_t begin = 0;  // of the plain text not yet read
  for (std::size_t at = folded.find_first_of("<e"); at != folded.npos;
       at = folded.find_first_of("<e", at)) {
    const auto match = folded[at] == '<' ? bracketed_at(folded, at) : named_at(folded, at);
    if (!match) {
      ++at;
      continue;
    }
    read_plain(std::string_view(valid).substr(begin, at - begin), units);
    units.push_back({.token = 0, .embedding = match->embedding});
    begin = at = match->end;
  }
  read_plain(std::string_view(valid).substr(begin), units);
  return units;
}

void TriggerIndex::read_plain(std::string_view text, std::vector<Unit>& units) const {
  const std::vector<std::int32_t> ids = tokenizer_.encode(text);
  for (std::size_t at = 0; at < ids.size();) {
    const auto candidates = by_first_token_.find(ids[at]);
    const std::pair<std::vector<std::int32_t>, std::size_t>* found = nullptr;
    if (candidates != by_first_token_.end()) {
      for (const auto& candidate : candidates->second) {
        const bool fits = candidate.first.size() <= ids.size() - at &&
                          std::equal(candidate.first.begin(), candidate.first.end(),
                                     ids.begin() + static_cast<std::ptrdiff_t>(at));
        if (fits) {
          found = &candidate;
          break;
        }
      }
    }
    if (found != nullptr) {
      units.push_back({.token = 0, .embedding = found->second});
      at += found->first.size();
    } else {
      units.push_back({.token = ids[at], .embedding = std::nullopt});
      ++at;
    }
  }
}

}  // namespace velatura::pipelines::prompt
