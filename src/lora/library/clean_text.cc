#include "lora/library/clean_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <utility>

#include "base/text.h"
#include "base/utf8.h"

namespace velatura::lora::library {

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
constexpr std::string_view kEllipsis = "…";

bool is_blank(unsigned char byte) {
  return byte <= ' ' || byte == 0x7f;
}

std::string clean(std::string_view text, std::size_t max_bytes, bool keep_lines) {
  std::string result;
  int breaks = 0;
  bool space = false;
  while (!text.empty()) {
    const auto byte = static_cast<unsigned char>(text.front());
    if (is_blank(byte)) {
      space = true;
      if (byte == '\n') ++breaks;
      text.remove_prefix(1);
      continue;
    }
    const std::size_t length = utf8_character_length(text);
    const std::string_view character = length == 0 ? kReplacement : text.substr(0, length);
    if (result.size() + character.size() + 2 > max_bytes) return result.append(kEllipsis);
    if (space && !result.empty()) {
      if (keep_lines && breaks > 0) {
        result.append(breaks > 1 ? "\n\n" : "\n");
      } else {
        result += ' ';
      }
    }
    space = false;
    breaks = 0;
    result.append(character);
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return result;
}

/// The character that "&name;" stands for; empty where it is none that we know.
std::string entity(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kNamed = {
      {{"amp", "&"}, {"lt", "<"}, {"gt", ">"}, {"quot", "\""}, {"apos", "'"}, {"nbsp", " "}}};
  for (const auto& [known, text] : kNamed) {
    if (known == name) return std::string(text);
  }
  if (!name.starts_with('#')) return {};
  name.remove_prefix(1);
  const bool hexadecimal = name.starts_with('x') || name.starts_with('X');
  if (hexadecimal) name.remove_prefix(1);
  std::uint32_t code = 0;
  const auto [end, error] =
      std::from_chars(name.data(), name.data() + name.size(), code, hexadecimal ? 16 : 10);
  if (error != std::errc() || end != name.data() + name.size() || code == 0 || code > 0x10ffff ||
      (code >= 0xd800 && code <= 0xdfff))
    return {};
  std::string text;
  append_utf8(text, code);
  return text;
}

bool ends_line(std::string_view tag) {
  static constexpr auto kTags = std::to_array<std::string_view>(
      {"br", "p", "li", "div", "h1", "h2", "h3", "h4", "h5", "h6", "tr", "ul", "ol"});
  if (tag.starts_with('/')) tag.remove_prefix(1);
  const std::size_t end = std::min(tag.find_first_of(" />\t\r\n"), tag.size());
  return std::ranges::find(kTags, lowered(tag.substr(0, end))) != kTags.end();
}

bool begins_tag(std::string_view text) {
  if (text.size() < 2) return false;
  const char next = text[1];
  return next == '/' || next == '!' || (next >= 'a' && next <= 'z') || (next >= 'A' && next <= 'Z');
}

}  // namespace

std::string clean_line(std::string_view text, std::size_t max_bytes) {
  return clean(text, max_bytes, false);
}

std::string clean_lines(std::string_view text, std::size_t max_bytes) {
  return clean(text, max_bytes, true);
}

std::string text_of_html(std::string_view html) {
  std::string text;
  while (!html.empty()) {
    std::size_t used = 1;
    if (html.front() == '<' && begins_tag(html)) {
      const std::size_t end = html.find('>');
      if (end == html.npos) return text;  // the rest is one tag that was cut off
      if (ends_line(html.substr(1, end))) text += '\n';
      used = end + 1;
    } else if (html.front() == '&') {
      constexpr std::size_t kLongest = 10;
      const std::size_t end = html.substr(0, kLongest).find(';');
      std::string character = end == html.npos ? std::string() : entity(html.substr(1, end - 1));
      used = character.empty() ? 1 : end + 1;
      text += character.empty() ? "&" : character;
    } else {
      text += html.front();
    }
    html.remove_prefix(used);
  }
  return text;
}

std::string_view stripped(std::string_view text) {
  while (!text.empty() && is_blank(static_cast<unsigned char>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && is_blank(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> split_list(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    if (const std::string_view part = stripped(text.substr(0, end)); !part.empty())
      parts.push_back(part);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

std::string squeezed(std::string_view text) {
  std::string result = lowered(text);
  std::erase_if(result, [](unsigned char letter) {
    return letter < 0x80 && !(letter >= 'a' && letter <= 'z') && !(letter >= '0' && letter <= '9');
  });
  return result;
}

}  // namespace velatura::lora::library
