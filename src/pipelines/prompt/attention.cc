#include "pipelines/prompt/attention.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "tokenizers/unicode.h"

namespace velatura::pipelines::prompt {
namespace {

using tokenizers::is_space;
using tokenizers::is_word;
using tokenizers::next_character;

constexpr double kRoundBracket = 1.1;
constexpr double kSquareBracket = 1 / 1.1;
constexpr std::string_view kBreak = "BREAK";

/// The character that ends at byte `end` of valid `text`, which is not 0.
char32_t character_before(std::string_view text, std::size_t end) {
  std::size_t begin = end - 1;
  while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xc0) == 0x80) --begin;
  return next_character(text, begin);
}

std::size_t skip_spaces(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    std::size_t next = at;
    if (!is_space(next_character(text, next))) break;
    at = next;
  }
  return at;
}

/// `:  1.2 )` at `at`, that is :\s*([+-]?[.\d]+)\s*\). `end` is behind the bracket.
struct WeightMark {
  std::optional<double> weight;  ///< absent when the digits and dots are no number
  std::size_t end = 0;
};

std::optional<WeightMark> weight_mark(std::string_view text, std::size_t at) {
  at = skip_spaces(text, at + 1);
  const std::size_t begin = at;
  if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
  const std::size_t digits = at;
  while (at < text.size() && (text[at] == '.' || (text[at] >= '0' && text[at] <= '9'))) ++at;
  if (at == digits) return std::nullopt;
  const std::string_view number = text.substr(digits, at - digits);
  const bool negative = text[begin] == '-';
  at = skip_spaces(text, at);
  if (at == text.size() || text[at] != ')') return std::nullopt;

  double value = 0;
  const auto [stop, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  WeightMark mark{.weight = std::nullopt, .end = at + 1};
  if (error == std::errc::result_out_of_range) {
    fail(ErrorKind::invalid_argument, "prompt: the weight '{}' is out of range", number);
  }
  if (error == std::errc() && stop == number.data() + number.size())
    mark.weight = negative ? -value : value;
  return mark;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  std::vector<Fragment> parse() {
    for (std::size_t at = 0; at < text_.size();) at = step(at);
    for (const std::size_t open : round_) multiply_from(open, kRoundBracket);
    for (const std::size_t open : square_) multiply_from(open, kSquareBracket);
    return merged();
  }

 private:
  /// Reads one item at `at`; returns where the next begins.
  std::size_t step(std::size_t at) {
    switch (text_[at]) {
      case '\\': {
        const bool escapes =
            at + 1 < text_.size() && std::string_view("()[]\\").find(text_[at + 1]) != text_.npos;
        found_.push_back({std::string(text_.substr(at + 1, escapes ? 1 : 0)), 1.0});
        return at + (escapes ? 2 : 1);
      }
      case '(':
        round_.push_back(found_.size());
        return at + 1;
      case '[':
        square_.push_back(found_.size());
        return at + 1;
      case ':':
        if (const auto mark = weight_mark(text_, at)) {
          if (round_.empty()) {
            add_text(text_.substr(at, mark->end - at));
            return mark->end;
          }
          if (mark->weight) {
            close(round_, *mark->weight);
            return mark->end;
          }
        }
        add_text(":");
        return at + 1;
      case ')':
        close_or_keep(round_, kRoundBracket, ")");
        return at + 1;
      case ']':
        close_or_keep(square_, kSquareBracket, "]");
        return at + 1;
      default: {
        const std::size_t end = std::min(text_.find_first_of("\\()[]:", at), text_.size());
        add_text(text_.substr(at, end - at));
        return end;
      }
    }
  }

  void close(std::vector<std::size_t>& open, double weight) {
    multiply_from(open.back(), weight);
    open.pop_back();
  }

  void close_or_keep(std::vector<std::size_t>& open, double weight, std::string_view bracket) {
    if (open.empty()) return add_text(bracket);
    close(open, weight);
  }

  void multiply_from(std::size_t begin, double weight) {
    for (std::size_t i = begin; i < found_.size(); ++i) found_[i].weight *= weight;
  }

  /// Adds plain text, split at each BREAK that stands as a word, with the white space around it.
  void add_text(std::string_view text) {
    std::size_t begin = 0;
    for (std::size_t at = text.find(kBreak); at != text.npos; at = text.find(kBreak, at)) {
      const std::size_t end = at + kBreak.size();
      std::size_t next = end;
      const bool is_whole_word = (at == 0 || !is_word(character_before(text, at))) &&
                                 (end == text.size() || !is_word(next_character(text, next)));
      if (!is_whole_word) {
        at = end;
        continue;
      }
      std::size_t before = at;
      while (before > begin && is_space(character_before(text, before))) {
        --before;
        while ((static_cast<unsigned char>(text[before]) & 0xc0) == 0x80) --before;
      }
      found_.push_back({std::string(text.substr(begin, before - begin)), 1.0});
      found_.push_back({std::string(kBreak), -1.0});
      at = begin = skip_spaces(text, end);
    }
    found_.push_back({std::string(text.substr(begin)), 1.0});
  }

  std::vector<Fragment> merged() {
    std::vector<Fragment> result;
    for (Fragment& fragment : found_) {
      if (!std::isfinite(fragment.weight)) {
        fail(ErrorKind::invalid_argument,
             "prompt: brackets multiply the weight of '{}' beyond every number",
             std::string_view(fragment.text).substr(0, 40));
      }
      if (!result.empty() && result.back().weight == fragment.weight) {
        result.back().text += fragment.text;
      } else {
        result.push_back(std::move(fragment));
      }
    }
    if (result.empty()) result.emplace_back();
    return result;
  }

  std::string_view text_;
  std::vector<Fragment> found_;
  std::vector<std::size_t> round_, square_;  // indices into found_ at which open brackets begin
};

}  // namespace

std::vector<Fragment> parse_attention(std::string_view prompt) {
  const std::string text = tokenizers::sanitise_utf8(prompt);
  return Parser(text).parse();
}

}  // namespace velatura::pipelines::prompt
