// Module names by PEFT's patterns ("alpha_pattern", "rank_pattern"): plain names in a map, the rest
// by a matcher of bounded work, since the patterns come out of files that anybody may write. Not
// here: what the numbers are for (peft_scaling.h).
#pragma once

#include <bitset>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace velatura::lora {

/// One regular expression as PEFT asks for it, re.match("(.*\.)?(pattern)$", name), without its
/// exponential cases: all states that can hold are followed side by side, letter by letter, so that
/// a match takes at most kMostSteps for each letter of the name. Immutable, thread-safe.
///
/// Letters, ".", \d \w \s and their opposites, escaped letters, [sets], (groups), "|", "*", "+",
/// "?", "{m,n}", "^" and "$". Bytes, not letters of UTF-8.
class NamePattern {
 public:
  static constexpr std::size_t kMostSteps = 1024;
  /// `where` names the file in errors: bad_file for what is no expression, unsupported for what is
  /// beyond the above or longer than kMostSteps (look-around, back references, \b, flags).
  NamePattern(std::string_view pattern, const std::string& where);
  bool matches(std::string_view name) const;

 private:
  friend class NamePatternParser;
  struct Step {
    enum class Kind { letter, fork, begin, end } kind = Kind::letter;
    std::bitset<256> letters;  ///< of Kind::letter; the next step follows
    /// Of Kind::fork: both hold at once; equal ones are a jump.
    std::size_t first = 0, second = 0;
  };
  std::vector<Step> steps_;  ///< a name matches where all of it leads behind the last
};

/// Numbers by pattern, in the file's order: the first that matches counts. Immutable once filled.
class PeftPatterns {
 public:
  static constexpr std::size_t kMostExpressions = 64;
  /// Errors as above; unsupported beyond kMostExpressions that are no plain names. A name of
  /// letters, digits, "_", "-" and "." (as it is or escaped), with or without "^" and "$", is
  /// plain, and as many may be there as the file likes: "." stands for itself in it.
  void add(const std::string& pattern, double number, const std::string& where);
  bool empty() const { return numbers_.empty(); }
  /// The first pattern's number that matches `name` from its beginning or behind a dot to its end.
  std::optional<double> find(std::string_view name) const;

 private:
  struct Expression {
    NamePattern pattern;
    std::size_t place;
  };
  using Places = std::unordered_map<std::string, std::size_t>;  ///< name → index in numbers_
  std::vector<double> numbers_;
  Places plain_, anchored_;
  std::size_t longest_ = 0;  ///< of plain_
  std::vector<Expression> expressions_;
};

}  // namespace velatura::lora
