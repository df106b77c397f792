#include "image/text_encoding.h"

#include <cstddef>
#include <cstdint>

namespace velatura::image {
namespace {

void append_utf8(std::string& out, std::uint32_t code) {
  const auto byte = [&](std::uint32_t value) { out.push_back(static_cast<char>(value)); };
  if (code < 0x80) {
    byte(code);
  } else if (code < 0x800) {
    byte(0xc0 | (code >> 6));
    byte(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    byte(0xe0 | (code >> 12));
    byte(0x80 | ((code >> 6) & 0x3f));
    byte(0x80 | (code & 0x3f));
  } else {
    byte(0xf0 | (code >> 18));
    byte(0x80 | ((code >> 12) & 0x3f));
    byte(0x80 | ((code >> 6) & 0x3f));
    byte(0x80 | (code & 0x3f));
  }
}

/// Reads one character at `at` and moves past it; nullopt when it is malformed.
std::optional<std::uint32_t> next_utf8(std::string_view bytes, std::size_t& at) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(bytes[i]); };
  const std::uint8_t lead = byte(at);
  if (lead < 0x80) {
    ++at;
    return lead;
  }
  const int extra = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
  if (lead < 0xc2 || lead > 0xf4 || bytes.size() - at <= static_cast<std::size_t>(extra))
    return std::nullopt;
  std::uint32_t code = lead & (0x3fu >> extra);
  for (int i = 1; i <= extra; ++i) {
    const std::uint8_t follow = byte(at + static_cast<std::size_t>(i));
    if ((follow & 0xc0) != 0x80) return std::nullopt;
    code = (code << 6) | (follow & 0x3fu);
  }
  constexpr std::uint32_t kSmallest[] = {0, 0x80, 0x800, 0x10000};
  if (code < kSmallest[extra] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
    return std::nullopt;
  at += static_cast<std::size_t>(extra) + 1;
  return code;
}

}  // namespace

bool is_utf8(std::string_view bytes) {
  for (std::size_t at = 0; at < bytes.size();) {
    if (!next_utf8(bytes, at)) return false;
  }
  return true;
}

std::string latin1_to_utf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  for (const char c : bytes) append_utf8(out, static_cast<std::uint8_t>(c));
  return out;
}

std::optional<std::string> utf8_to_latin1(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::optional<std::uint32_t> code = next_utf8(text, at);
    if (!code || *code > 0xff) return std::nullopt;
    out.push_back(static_cast<char>(*code));
  }
  return out;
}

std::string utf16_to_utf8(std::string_view bytes, bool big_endian) {
  const auto unit = [&](std::size_t i) -> std::uint32_t {
    const auto first = static_cast<std::uint8_t>(bytes[2 * i]);
    const auto second = static_cast<std::uint8_t>(bytes[2 * i + 1]);
    return big_endian ? (first << 8) | second : (second << 8) | first;
  };
  const auto is_low = [](std::uint32_t value) { return value >= 0xdc00 && value < 0xe000; };
  const std::size_t count = bytes.size() / 2;
  std::string out;
  out.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t value = unit(i);
    if (value < 0xd800 || value >= 0xe000) {
      append_utf8(out, value);
    } else if (!is_low(value) && i + 1 < count && is_low(unit(i + 1))) {
      append_utf8(out, 0x10000 + ((value - 0xd800) << 10) + (unit(++i) - 0xdc00));
    } else {
      append_utf8(out, 0xfffd);
    }
  }
  return out;
}

std::string guess_to_utf8(std::string_view bytes) {
  return is_utf8(bytes) ? std::string(bytes) : latin1_to_utf8(bytes);
}

}  // namespace velatura::image
