#include "lora/peft_patterns.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"

namespace velatura::lora {

namespace {

using Letters = std::bitset<256>;

std::size_t byte(char letter) {
  return static_cast<unsigned char>(letter);
}

bool is_digit(char letter) {
  return letter >= '0' && letter <= '9';
}

bool is_word(char letter) {
  return is_digit(letter) || (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
         letter == '_';
}

Letters all_that(bool (*is)(char)) {
  Letters letters;
  for (std::size_t i = 0; i < letters.size(); ++i) letters.set(i, is(static_cast<char>(i)));
  return letters;
}

Letters any_letter() {
  return Letters().set().reset(byte('\n'));
}

/// What \d and the like stand for; nullopt for a letter that is not one of them.
std::optional<Letters> class_of(char letter) {
  switch (letter) {
    case 'd':
      return all_that(is_digit);
    case 'D':
      return ~all_that(is_digit);
    case 'w':
      return all_that(is_word);
    case 'W':
      return ~all_that(is_word);
    case 's':
    case 'S': {
      const Letters spaces = all_that([](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); });
      return letter == 's' ? spaces : ~spaces;
    }
    default:
      return std::nullopt;
  }
}

}  // namespace

/// Writes the steps as it reads: each part of the expression is a run of steps that begins at its
/// first and leaves behind its last.
class NamePatternParser {
 public:
  NamePatternParser(std::string_view text, const std::string& where,
                    std::vector<NamePattern::Step>& steps)
      : text_(text), where_(where), steps_(steps) {}

  void run() {
    // "(.*\.)?"
    fork(1, 5);
    fork(2, 4);
    letters(any_letter());
    jump(1);
    letters(Letters().set(byte('.')));
    alternatives(0);
    if (at_ < text_.size()) malformed();
    emit({.kind = Kind::end});
  }

 private:
  using Kind = NamePattern::Step::Kind;
  static constexpr int kDeepest = 16;
  static constexpr std::size_t kMostAtoms = 4 * NamePattern::kMostSteps;

  [[noreturn]] void malformed() const {
    fail(ErrorKind::bad_file, "{}: the pattern \"{}\" is no regular expression", where_, text_);
  }
  [[noreturn]] void refuse() const {
    fail(ErrorKind::unsupported, "{}: the pattern \"{}\" is too involved to be matched", where_,
         text_);
  }
  bool next_is(char letter) const { return at_ < text_.size() && text_[at_] == letter; }
  bool take(char letter) {
    if (!next_is(letter)) return false;
    ++at_;
    return true;
  }
  char take_any() {
    if (at_ == text_.size()) malformed();
    return text_[at_++];
  }

  void emit(NamePattern::Step step) {
    if (steps_.size() >= NamePattern::kMostSteps) refuse();
    steps_.push_back(step);
  }
  void letters(const Letters& set) { emit({.kind = Kind::letter, .letters = set}); }
  void fork(std::size_t first, std::size_t second) {
    emit({.kind = Kind::fork, .letters = {}, .first = first, .second = second});
  }
  void jump(std::size_t to) { fork(to, to); }
  /// A fork in front of the run that begins at `begin`, whose own jumps move along.
  void fork_before(std::size_t begin, std::size_t first, std::size_t second) {
    fork(0, 0);
    for (std::size_t i = steps_.size() - 1; i > begin; --i) {
      steps_[i] = steps_[i - 1];
      steps_[i].first += steps_[i].first >= begin ? 1 : 0;
      steps_[i].second += steps_[i].second >= begin ? 1 : 0;
    }
    steps_[begin] = {.kind = Kind::fork, .letters = {}, .first = first, .second = second};
  }

  void alternatives(int depth) {
    if (depth > kDeepest) refuse();
    const std::size_t begin = steps_.size();
    sequence(depth);
    if (!take('|')) return;
    fork_before(begin, begin + 1, steps_.size() + 2);
    const std::size_t leave = steps_.size();
    jump(0);
    alternatives(depth);
    steps_[leave].first = steps_[leave].second = steps_.size();
  }

  void sequence(int depth) {
    while (at_ < text_.size() && text_[at_] != '|' && text_[at_] != ')') repeated(depth);
  }

  void repeated(int depth) {
    const std::size_t begin = steps_.size(), source = at_;
    const bool is_anchor = next_is('^') || next_is('$');
    atom(depth);
    const std::size_t end_of_atom = at_;
    if (at_ == text_.size()) return;
    if (std::string_view("*+?").find(text_[at_]) != std::string_view::npos) {
      if (is_anchor) refuse();
      const char sign = take_any();
      if (sign != '+') fork_before(begin, begin + 1, steps_.size() + (sign == '*' ? 2 : 1));
      if (sign == '*') jump(begin);
      if (sign == '+') fork(begin, steps_.size() + 1);
    } else if (next_is('{')) {
      if (is_anchor) refuse();
      times(depth, begin, source, end_of_atom);
    } else {
      return;
    }
    take('?');  // as few as can be: the same names match
    if (at_ < text_.size() && std::string_view("*+?{").find(text_[at_]) != std::string_view::npos)
      next_is('+') ? refuse() : malformed();
  }

  /// "{m}", "{m,}", "{m,n}": the atom's text, which ends at `end_of_atom`, is read anew each time.
  void times(int depth, std::size_t begin, std::size_t source, std::size_t end_of_atom) {
    ++at_;
    const std::size_t least = number().value_or(0);
    std::optional<std::size_t> most = least;
    if (take(',')) most = number();
    if (!take('}') || (most && *most < least)) malformed();
    const std::size_t behind = at_;
    steps_.resize(begin);
    const auto again = [&] {
      at_ = source;
      atom(depth);
      VELATURA_CHECK(at_ == end_of_atom);
    };
    for (std::size_t i = 0; i < least; ++i) again();
    for (std::size_t i = least; i < most.value_or(least + 1); ++i) {
      const std::size_t start = steps_.size();
      again();
      fork_before(start, start + 1, steps_.size() + (most ? 1 : 2));
      if (!most) jump(start);
    }
    at_ = behind;
  }

  std::optional<std::size_t> number() {
    std::size_t value = 0;
    const char* begin = text_.data() + at_;
    const auto [stop, error] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (stop == begin) return std::nullopt;
    if (error != std::errc() || value > NamePattern::kMostSteps) refuse();
    at_ += static_cast<std::size_t>(stop - begin);
    return value;
  }

  void atom(int depth) {
    // Counted beside the steps: "(){1000}" in itself a few times makes none.
    if (++atoms_ > kMostAtoms) refuse();
    switch (const char letter = take_any()) {
      case '(':
        if (take('?') && !take(':')) refuse();
        alternatives(depth + 1);
        if (!take(')')) malformed();
        return;
      case '[':
        return letters(set());
      case '.':
        return letters(any_letter());
      case '^':
        return emit({.kind = Kind::begin});
      case '$':
        return emit({.kind = Kind::end});
      case '\\':
        return letters(escaped());
      case '*':
      case '+':
      case '?':
        malformed();
      case '{':
        refuse();
      default:
        return letters(Letters().set(byte(letter)));
    }
  }

  Letters escaped() {
    const char letter = take_any();
    if (const auto known = class_of(letter)) return *known;
    if (is_word(letter)) refuse();
    return Letters().set(byte(letter));
  }

  /// Behind its "[", to its "]" with it.
  Letters set() {
    const bool is_opposite = take('^');
    Letters letters;
    for (bool first = true; first || !next_is(']'); first = false) {
      const char letter = take_any();
      if (letter == '\\') {
        letters |= escaped();
        continue;
      }
      char last = letter;
      if (next_is('-') && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        last = take_any();
        if (last == '\\') refuse();
        if (byte(last) < byte(letter)) malformed();
      }
      for (std::size_t i = byte(letter); i <= byte(last); ++i) letters.set(i);
    }
    ++at_;
    return is_opposite ? ~letters : letters;
  }

  std::string_view text_;
  const std::string& where_;
  std::vector<NamePattern::Step>& steps_;
  std::size_t at_ = 0, atoms_ = 0;
};

NamePattern::NamePattern(std::string_view pattern, const std::string& where) {
  // Each letter takes a step or none, but for brackets: their sets are short.
  if (pattern.size() > kMostSteps) {
    fail(ErrorKind::unsupported, "{}: a pattern of {} letters, at most {} can be matched", where,
         pattern.size(), kMostSteps);
  }
  NamePatternParser(pattern, where, steps_).run();
}

bool NamePattern::matches(std::string_view name) const {
  std::vector<std::size_t> now, next, open;
  std::vector<std::size_t> seen(steps_.size() + 1, 0);  // 1 + the place where a step last held
  // All steps that hold once `step` does, without a letter between.
  const auto reach = [&](std::size_t from, std::size_t place, std::vector<std::size_t>& holding) {
    open.push_back(from);
    while (!open.empty()) {
      const std::size_t step = open.back();
      open.pop_back();
      if (seen[step] == place + 1) continue;
      seen[step] = place + 1;
      if (step == steps_.size() || steps_[step].kind == Step::Kind::letter) {
        holding.push_back(step);
      } else if (steps_[step].kind == Step::Kind::fork) {
        open.push_back(steps_[step].first);
        open.push_back(steps_[step].second);
      } else if (place == (steps_[step].kind == Step::Kind::begin ? 0 : name.size())) {
        open.push_back(step + 1);
      }
    }
  };
  reach(0, 0, now);
  for (std::size_t i = 0; i < name.size() && !now.empty(); ++i) {
    next.clear();
    for (const std::size_t step : now) {
      if (step < steps_.size() && steps_[step].letters.test(byte(name[i])))
        reach(step + 1, i + 1, next);
    }
    now.swap(next);
  }
  return std::ranges::find(now, steps_.size()) != now.end();
}

namespace {

/// The name that a pattern is, without its anchors; nullopt for a true expression.
std::optional<std::string> plain_name(std::string_view pattern) {
  std::string name;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '\\' && i + 1 < pattern.size() &&
        (pattern[i + 1] == '.' || pattern[i + 1] == '-')) {
      ++i;
    } else if (!is_word(pattern[i]) && pattern[i] != '.' && pattern[i] != '-') {
      return std::nullopt;
    }
    name += pattern[i];
  }
  return name;
}

}  // namespace

void PeftPatterns::add(const std::string& pattern, double number, const std::string& where) {
  std::string_view text = pattern;
  const bool is_anchored = text.starts_with('^');
  if (is_anchored) text.remove_prefix(1);
  if (text.ends_with('$') && !text.ends_with("\\$")) text.remove_suffix(1);
  const std::size_t place = numbers_.size();
  if (auto name = plain_name(text)) {
    if (!is_anchored) longest_ = std::max(longest_, name->size());
    (is_anchored ? anchored_ : plain_).try_emplace(std::move(*name), place);
  } else {
    if (expressions_.size() >= kMostExpressions) {
      fail(ErrorKind::unsupported,
           "{}: more than {} patterns that are no plain names, \"{}\" first beyond", where,
           kMostExpressions, pattern);
    }
    expressions_.push_back({NamePattern(pattern, where), place});
  }
  numbers_.push_back(number);
}

std::optional<double> PeftPatterns::find(std::string_view name) const {
  std::size_t best = numbers_.size();
  const auto look_up = [&](const Places& places, std::string_view key) {
    if (places.empty()) return;
    if (const auto found = places.find(std::string(key)); found != places.end())
      best = std::min(best, found->second);
  };
  look_up(anchored_, name);
  std::string_view rest = name;
  while (true) {
    if (rest.size() <= longest_) look_up(plain_, rest);
    const std::size_t dot = rest.find('.');
    if (dot == std::string_view::npos) break;
    rest.remove_prefix(dot + 1);
  }
  for (const Expression& expression : expressions_) {
    if (expression.place >= best) break;
    if (expression.pattern.matches(name)) best = expression.place;
  }
  return best == numbers_.size() ? std::nullopt : std::optional(numbers_[best]);
}

}  // namespace velatura::lora
