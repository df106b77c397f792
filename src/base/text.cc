#include "base/text.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace velatura {

namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& letter : result) {
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  }
  return result;
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
  const std::string wanted_lower = lower(wanted.substr(0, 2 * longest + 1));
  std::vector<std::pair<std::size_t, std::size_t>> ranked;  // distance, position
  for (std::size_t i = 0; i < known.size(); ++i) {
    ranked.emplace_back(edit_distance(wanted_lower, lower(known[i])), i);
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<std::string> names;
  for (const auto& [distance, position] : ranked) {
    if (names.size() == count) break;
    names.push_back(known[position]);
  }
  return names;
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
