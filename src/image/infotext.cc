#include "image/infotext.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"

namespace velatura::image {
namespace {

constexpr std::string_view kNegative = "Negative prompt:";
constexpr std::string_view kBlanks = " \t\r\n\f\v";
/// A last line with fewer fields is prompt: "a cat, style: oil" must not lose its end
/// (infotext_utils.py).
constexpr std::size_t kFewestFields = 3;

/// \w of Python's regular expressions; every byte beyond ASCII counts as a letter.
bool is_word(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
         (byte >= 'a' && byte <= 'z') || byte == '_' || byte >= 0x80;
}

bool is_key_part(char c) {
  return is_word(c) || c == ' ' || c == '-' || c == '/';
}

bool ends_value(std::string_view text, std::size_t at) {
  return at == text.size() || text[at] == ',';
}

/// Past the closing quote of the string that opens at `at`; npos when it stays open.
std::size_t after_string(std::string_view text, std::size_t at) {
  for (std::size_t i = at + 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      return i + 1;
    }
  }
  return std::string_view::npos;
}

/// Past the bracket that closes the JSON list or object opening at `at`; npos when none does.
std::size_t after_brackets(std::string_view text, std::size_t at) {
  std::size_t depth = 0;
  for (std::size_t i = at; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      const std::size_t end = after_string(text, i);
      if (end == std::string_view::npos) return end;
      i = end - 1;
    } else if (c == '[' || c == '{') {
      ++depth;
    } else if ((c == ']' || c == '}') && --depth == 0) {
      return i + 1;
    }
  }
  return std::string_view::npos;
}

std::string unquoted(std::string_view value) {
  if (value.size() < 2 || value.front() != '"' || value.back() != '"') return std::string(value);
  const nlohmann::json parsed = nlohmann::json::parse(value, nullptr, false);
  return parsed.is_string() ? parsed.get<std::string>() : std::string(value);
}

/// Where the value that starts at `at` ends: a quoted or bracketed one at its close when a comma
/// follows, else at the next comma.
class ValueEnds {
 public:
  explicit ValueEnds(std::string_view line) : line_(line) {}

  std::size_t end_of(std::size_t at) {
    if (at < line_.size()) {
      if (line_[at] == '"') {
        const std::size_t end = after_string(line_, at);
        if (end != std::string_view::npos && ends_value(line_, end)) return end;
      } else if ((line_[at] == '[' || line_[at] == '{') && brackets_close_) {
        const std::size_t end = after_brackets(line_, at);
        if (end != std::string_view::npos && ends_value(line_, end)) return end;
        // One miss ends the search: a line of thousands of brackets would cost its square.
        brackets_close_ = false;
      }
    }
    return std::min(line_.find(',', at), line_.size());
  }

 private:
  std::string_view line_;
  bool brackets_close_ = true;
};

/// All matches of the web UI's `\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)`, left to
/// right.
std::vector<std::pair<std::string, std::string>> parse_fields(std::string_view line) {
  std::vector<std::pair<std::string, std::string>> fields;
  ValueEnds ends(line);
  std::size_t at = 0;
  while (at < line.size()) {
    if (!is_word(line[at])) {
      ++at;
      continue;
    }
    std::size_t key_end = at;
    while (key_end < line.size() && is_key_part(line[key_end])) ++key_end;
    if (key_end - at < 2 || key_end == line.size() || line[key_end] != ':') {
      at = key_end;  // no start inside this run could meet a colon either
      continue;
    }
    const std::size_t start = std::min(line.find_first_not_of(kBlanks, key_end + 1), line.size());
    const std::size_t end = ends.end_of(start);
    fields.emplace_back(line.substr(at, key_end - at), unquoted(line.substr(start, end - start)));
    at = end + 1;
  }
  return fields;
}

std::string quoted_where_needed(const std::string& value) {
  const bool changes =
      value.empty() || value.front() == '"' || trimmed(value).size() != value.size();
  if (!changes && value.find_first_of(",:\n") == std::string::npos) return value;
  // Bytes that are no UTF-8 become U+FFFD instead of an exception: a text chunk must be UTF-8
  // anyway.
  return nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void append_line(std::string& text, std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (!text.empty()) text += '\n';
  text += line;
}

}  // namespace

const std::string* Infotext::find(std::string_view key) const {
  const auto found = std::find_if(fields.rbegin(), fields.rend(),
                                  [&](const auto& field) { return field.first == key; });
  return found == fields.rend() ? nullptr : &found->second;
}

std::string write_infotext(const Infotext& infotext) {
  std::string text = infotext.prompt;
  if (!infotext.negative.empty()) {
    text += '\n';
    text += kNegative;
    text += ' ';
    text += infotext.negative;
  }
  text += '\n';
  bool is_first = true;
  for (const auto& [key, value] : infotext.fields) {
    VELATURA_CHECK(key.size() >= 2 && is_word(key.front()) &&
                   std::all_of(key.begin(), key.end(), is_key_part));
    if (!is_first) text += ", ";
    is_first = false;
    text += key;
    text += ": ";
    text += quoted_where_needed(value);
  }
  return std::string(trimmed(text));
}

Infotext parse_infotext(std::string_view text) {
  text = trimmed(text);
  Infotext infotext;
  const std::size_t last_break = text.rfind('\n');
  const std::size_t last_start = last_break == std::string_view::npos ? 0 : last_break + 1;
  infotext.fields = parse_fields(text.substr(last_start));
  if (infotext.fields.size() < kFewestFields) {
    infotext.fields.clear();
  } else {
    text = text.substr(0, last_start);
  }
  std::string* target = &infotext.prompt;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (trimmed(line).starts_with(kNegative)) {
      target = &infotext.negative;
      line.remove_prefix(line.find(kNegative) + kNegative.size());
    }
    append_line(*target, line);
  }
  infotext.prompt = std::string(trimmed(infotext.prompt));
  infotext.negative = std::string(trimmed(infotext.negative));
  return infotext;
}

std::optional<std::pair<int, int>> parse_size(std::string_view text) {
  int width = 0;
  int height = 0;
  const char* const end = text.data() + text.size();
  const auto [after_width, bad_width] = std::from_chars(text.data(), end, width);
  if (bad_width != std::errc() || after_width == end || *after_width != 'x') return std::nullopt;
  const auto [after_height, bad_height] = std::from_chars(after_width + 1, end, height);
  if (bad_height != std::errc() || after_height != end || width <= 0 || height <= 0)
    return std::nullopt;
  return std::pair(width, height);
}

std::string join_hashes(const std::vector<std::pair<std::string, std::string>>& hashes) {
  std::string text;
  for (const auto& [name, hash] : hashes) {
    if (!text.empty()) text += ", ";
    text += name;
    text += ": ";
    text += hash;
  }
  return text;
}

std::vector<std::pair<std::string, std::string>> split_hashes(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> hashes;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(','), text.size());
    const std::string_view entry = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t colon = entry.rfind(':');  // a name may hold colons, a hash never
    if (colon == std::string_view::npos) continue;
    const std::string_view name = trimmed(entry.substr(0, colon));
    const std::string_view hash = trimmed(entry.substr(colon + 1));
    if (!name.empty() && !hash.empty()) hashes.emplace_back(name, hash);
  }
  return hashes;
}

}  // namespace velatura::image
