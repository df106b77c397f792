#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

namespace velatura {

namespace {

/// edit_distance(a, b), or `most` + 1 where it is larger: cells further than `most` from the
/// diagonal are never looked at (Ukkonen 1985).
std::size_t bounded_distance(std::string_view a, std::string_view b, std::size_t most) {
  const std::size_t beyond = most + 1;
  if (std::max(a.size(), b.size()) - std::min(a.size(), b.size()) > most) return beyond;
  std::vector<std::size_t> row(b.size() + 1, beyond);
  for (std::size_t j = 0; j <= std::min(most, b.size()); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    const std::size_t low = i > most ? i - most : 1, high = std::min(b.size(), i + most);
    std::size_t diagonal = std::exchange(row[low - 1], low == 1 ? i : beyond);
    std::size_t least = row[low - 1];
    for (std::size_t j = low; j <= high; ++j) {
      const std::size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({substituted, diagonal + 1, row[j - 1] + 1});
      least = std::min(least, row[j]);
    }
    if (least > most) return beyond;
  }
  return std::min(row.back(), beyond);
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t substituted = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

std::vector<std::string> nearest_names(std::string_view wanted, std::span<const std::string> known,
                                       std::size_t count) {
  // Hostile files have names of megabytes. Where the wanted one is far longer than all others, its
  // beginning decides, so that the time stays bounded.
  std::size_t longest = 0;
  for (const std::string& name : known) longest = std::max(longest, name.size());
  const std::string wanted_lower = lowered(wanted.substr(0, 2 * longest + 1));
  std::vector<std::pair<std::size_t, std::size_t>> ranked;  // distance, position: the best so far
  for (std::size_t i = 0; i < known.size() && count > 0; ++i) {
    const bool is_full = ranked.size() == count;
    // Only what is nearer than the last of them can still come in.
    const std::size_t most = is_full ? ranked.back().first : wanted_lower.size() + known[i].size();
    if (is_full && most == 0) break;
    const std::size_t distance =
        bounded_distance(wanted_lower, lowered(known[i]), is_full ? most - 1 : most);
    if (is_full && distance >= most) continue;
    if (is_full) ranked.pop_back();
    const std::pair entry(distance, i);
    ranked.insert(std::upper_bound(ranked.begin(), ranked.end(), entry), entry);
  }
  std::vector<std::string> names;
  for (const auto& [distance, position] : ranked) {
    if (names.size() == count) break;
    names.push_back(known[position]);
  }
  return names;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n\v\f";
  const std::size_t begin = text.find_first_not_of(kBlanks);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

std::string lowered(std::string_view text) {
  std::string result(text);
  for (char& letter : result) {
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  }
  return result;
}

std::string size_text(std::uint64_t bytes) {
  constexpr double kKilo = 1e3, kMega = 1e6, kGiga = 1e9;
  const auto value = static_cast<double>(bytes);
  if (value >= kGiga) return fmt::format("{:.2f} GB", value / kGiga);
  if (value < kMega) return fmt::format("{:.1f} kB", value / kKilo);
  return fmt::format("{:.{}f} MB", value / kMega, value < 10 * kMega ? 1 : 0);
}

std::string shortened(std::string_view text, std::size_t max_bytes) {
  if (text.size() <= max_bytes) return std::string(text);
  const auto continues = [&](std::size_t at) {
    return (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80;
  };
  std::size_t end = max_bytes;
  while (end > 0 && continues(end)) --end;
  return std::string(text.substr(0, end)) + "…";
}

std::string json_without_infinities(std::string_view text) {
  constexpr std::string_view kWords[] = {"-Infinity", "Infinity", "NaN"};
  std::string result;
  result.reserve(text.size());
  bool in_string = false;
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view rest = text.substr(at);
    const auto* word =
        in_string ? std::end(kWords)
                  : std::find_if(std::begin(kWords), std::end(kWords),
                                 [&](auto candidate) { return rest.starts_with(candidate); });
    if (word != std::end(kWords)) {
      result += "null";
      at += word->size();
      continue;
    }
    if (in_string && rest[0] == '\\' &&
        rest.size() > 1) {  // an escaped quote does not end the string
      result += rest.substr(0, 2);
      at += 2;
      continue;
    }
    if (rest[0] == '"') in_string = !in_string;
    result += rest[0];
    ++at;
  }
  return result;
}

}  // namespace velatura
