#include "base/json_events.h"

#include <charconv>
#include <cstring>

#include "base/utf8.h"

namespace velatura {

namespace {

constexpr int kDeepest = 64;

bool is_digit(char letter) {
  return letter >= '0' && letter <= '9';
}

class Reader {
 public:
  Reader(std::string_view text, JsonEvents& events)
      : at_(text.data()), begin_(at_), end_(at_ + text.size()), events_(events) {}

  std::size_t run() {
    const bool good = value(0) && (skip_blanks(), at_ == end_);
    return good ? kWholeJson : static_cast<std::size_t>(at_ - begin_);
  }

 private:
  void skip_blanks() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) ++at_;
  }
  bool take(char letter) {
    if (at_ == end_ || *at_ != letter) return false;
    ++at_;
    return true;
  }
  bool take_after_blanks(char letter) {
    skip_blanks();
    return take(letter);
  }
  bool word(std::string_view text) {
    if (!std::string_view(at_, end_).starts_with(text)) return false;
    at_ += text.size();
    return true;
  }

  bool value(int depth) {
    skip_blanks();
    if (at_ == end_ || depth > kDeepest) return false;
    switch (*at_) {
      case '{':
        return object(depth);
      case '[':
        return array(depth);
      case '"':
        if (!read_string()) return false;
        events_.string(buffer_);
        return true;
      case 't':
        return word("true") && (events_.boolean(true), true);
      case 'f':
        return word("false") && (events_.boolean(false), true);
      case 'n':
        return word("null") && (events_.null(), true);
      default:
        return number();
    }
  }

  bool object(int depth) {
    ++at_;
    events_.begin_object();
    if (!take_after_blanks('}')) {
      do {
        skip_blanks();
        if (!read_string()) return false;
        events_.key(buffer_);
        if (!take_after_blanks(':') || !value(depth + 1)) return false;
      } while (take_after_blanks(','));
      if (!take('}')) return false;
    }
    events_.end_object();
    return true;
  }

  bool array(int depth) {
    ++at_;
    events_.begin_array();
    if (!take_after_blanks(']')) {
      do {
        if (!value(depth + 1)) return false;
      } while (take_after_blanks(','));
      if (!take(']')) return false;
    }
    events_.end_array();
    return true;
  }

  bool number() {
    const char* start = at_;
    const bool negative = take('-');
    if (at_ == end_ || !is_digit(*at_)) return false;
    if (!take('0')) skip_digits();
    bool whole = !negative;
    if (take('.')) {
      whole = false;
      if (!skip_digits()) return false;
    }
    if (at_ != end_ && (*at_ == 'e' || *at_ == 'E')) {
      whole = false;
      ++at_;
      if (!take('+')) take('-');
      if (!skip_digits()) return false;
    }
    std::uint64_t value = 0;
    if (whole && std::from_chars(start, at_, value).ec == std::errc()) {
      events_.whole_number(value);
    } else {
      events_.other_number({start, at_});
    }
    return true;
  }
  bool skip_digits() {
    const char* start = at_;
    while (at_ != end_ && is_digit(*at_)) ++at_;
    return at_ != start;
  }

  /// Into buffer_.
  bool read_string() {
    if (!take('"')) return false;
    buffer_.clear();
    bool ascii = true;
    for (;;) {
      const char* start = at_;
      skip_plain_eights();
      while (at_ != end_ && is_plain(*at_, ascii)) ++at_;
      buffer_.append(start, at_);
      if (take('"')) return ascii || is_utf8(buffer_);
      if (!take('\\') || !escape()) return false;
    }
  }
  /// Past whole groups of eight characters that are plain and ASCII: nearly all of a header.
  void skip_plain_eights() {
    constexpr std::uint64_t kOnes = 0x0101010101010101, kHighs = 0x80 * kOnes;
    while (end_ - at_ >= 8) {
      std::uint64_t eight = 0;
      std::memcpy(&eight, at_, sizeof eight);
      // A byte's high bit is set where it is no plain ASCII; a borrow can only set one too many.
      const std::uint64_t quotes = eight ^ ('"' * kOnes), slashes = eight ^ ('\\' * kOnes);
      const std::uint64_t found =
          eight | (eight - 0x20 * kOnes) | (quotes - kOnes) | (slashes - kOnes);
      if ((found & kHighs) != 0) return;
      at_ += sizeof eight;
    }
  }
  static bool is_plain(char letter, bool& ascii) {
    const auto byte = static_cast<unsigned char>(letter);
    ascii = ascii && byte < 0x80;
    return letter != '"' && letter != '\\' && byte >= 0x20;
  }

  bool escape() {
    if (at_ == end_) return false;
    constexpr std::string_view kLetters = "\"\\/bfnrt";
    constexpr std::string_view kMeanings = "\"\\/\b\f\n\r\t";
    const char letter = *at_++;
    if (letter == 'u') return unicode();
    const std::size_t which = kLetters.find(letter);
    if (which == kLetters.npos) return false;
    buffer_ += kMeanings[which];
    return true;
  }

  /// Behind "\u": four digits, and a second escape for what lies beyond U+FFFF.
  bool unicode() {
    std::uint32_t code = 0;
    if (!four_digits(code)) return false;
    if (code >= 0xdc00 && code <= 0xdfff) return false;
    if (code >= 0xd800 && code <= 0xdbff) {
      std::uint32_t low = 0;
      if (!word("\\u") || !four_digits(low) || low < 0xdc00 || low > 0xdfff) return false;
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    append_utf8(buffer_, code);
    return true;
  }
  bool four_digits(std::uint32_t& code) {
    if (end_ - at_ < 4) return false;
    const auto [end, error] = std::from_chars(at_, at_ + 4, code, 16);
    if (error != std::errc() || end != at_ + 4) return false;
    at_ = end;
    return true;
  }

  const char* at_;
  const char* begin_;
  const char* end_;
  JsonEvents& events_;
  std::string buffer_;
};

}  // namespace

std::size_t read_json(std::string_view text, JsonEvents& events) {
  return Reader(text, events).run();
}

}  // namespace velatura
