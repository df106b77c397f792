#include "lora/library/previews.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "lora/library/clean_text.h"

namespace velatura::lora::library {

namespace fs = std::filesystem;

namespace {

/// The value of a base64 digit; −1 for other characters. Both alphabets of the RFC.
int digit_of(char letter) {
  if (letter >= 'A' && letter <= 'Z') return letter - 'A';
  if (letter >= 'a' && letter <= 'z') return letter - 'a' + 26;
  if (letter >= '0' && letter <= '9') return letter - '0' + 52;
  if (letter == '+' || letter == '-') return 62;
  if (letter == '/' || letter == '_') return 63;
  return -1;
}

std::optional<LibraryPreview> picture(std::vector<std::byte> bytes) {
  const std::string_view type = media_type_of(bytes);
  if (type.empty()) return std::nullopt;
  return LibraryPreview{std::string(type), std::move(bytes)};
}

}  // namespace

std::string_view media_type_of(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.starts_with("\x89PNG\r\n\x1a\n")) return "image/png";
  if (text.starts_with("\xff\xd8\xff")) return "image/jpeg";
  if (text.starts_with("GIF87a") || text.starts_with("GIF89a")) return "image/gif";
  if (text.starts_with("RIFF") && text.substr(0, 12).ends_with("WEBP")) return "image/webp";
  return {};
}

std::optional<std::vector<std::byte>> decode_base64(std::string_view text) {
  if (text.size() / 4 * 3 > kLargestPreview + 64) return std::nullopt;
  std::vector<std::byte> bytes;
  bytes.reserve(text.size() / 4 * 3 + 3);
  std::uint32_t bits = 0;
  int count = 0;
  for (const char letter : text) {
    if (letter == '=' || letter == '\n' || letter == '\r' || letter == ' ' || letter == '\t')
      continue;
    const int digit = digit_of(letter);
    if (digit < 0) return std::nullopt;
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes.push_back(static_cast<std::byte>(bits >> count & 0xff));
    }
  }
  if (bytes.size() > kLargestPreview) return std::nullopt;
  return bytes;
}

std::optional<LibraryPreview> preview_in_value(std::string_view value) {
  constexpr std::size_t kLargestText = kLargestPreview / 3 * 4 + 1024;
  value = stripped(value);
  if (value.starts_with('[')) {
    if (value.size() > 4 * kLargestText) return std::nullopt;
    const auto list = nlohmann::json::parse(value, nullptr, false);
    if (!list.is_array() || list.empty() || !list[0].is_string()) return std::nullopt;
    const std::string& first = list[0].get_ref<const std::string&>();
    return first.starts_with('[') ? std::nullopt : preview_in_value(first);
  }
  if (value.size() > kLargestText) return std::nullopt;
  if (value.starts_with("data:")) {
    const std::size_t comma = value.find(',');
    if (!value.starts_with("data:image/") || comma == value.npos ||
        !value.substr(0, comma).ends_with(";base64"))
      return std::nullopt;
    value.remove_prefix(comma + 1);
  }
  auto bytes = decode_base64(value);
  return bytes ? picture(std::move(*bytes)) : std::nullopt;
}

std::optional<LibraryPreview> preview_in_file(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return std::nullopt;
  const std::uintmax_t size = fs::file_size(path, error);
  if (error || size > kLargestPreview) return std::nullopt;
  std::ifstream stream(path, std::ios::binary);
  std::vector<std::byte> bytes(size);
  stream.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  bytes.resize(static_cast<std::size_t>(std::max<std::streamsize>(stream.gcount(), 0)));
  return picture(std::move(bytes));
}

}  // namespace velatura::lora::library
