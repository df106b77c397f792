#include "image/codec.h"

#include <cstring>

#include "base/error.h"
#include "base/mapped_file.h"
#include "image/formats.h"

namespace velatura::image {
namespace {

bool has_bytes(std::span<const std::byte> bytes, std::size_t offset, std::string_view expected) {
  return bytes.size() >= offset + expected.size() &&
         std::memcmp(bytes.data() + offset, expected.data(), expected.size()) == 0;
}

}  // namespace

std::optional<Format> recognise(std::span<const std::byte> bytes) {
  if (has_bytes(bytes, 0, "\x89PNG\r\n\x1a\n")) return Format::png;
  if (has_bytes(bytes, 0, "\xff\xd8\xff")) return Format::jpeg;
  if (has_bytes(bytes, 0, "RIFF") && has_bytes(bytes, 8, "WEBP")) return Format::webp;
  return std::nullopt;
}

std::string_view to_string(Format format) {
  switch (format) {
    case Format::png:
      return "PNG";
    case Format::jpeg:
      return "JPEG";
    case Format::webp:
      return "WebP";
  }
  return "unknown";
}

Picture decode(std::span<const std::byte> bytes, std::string_view name, const ReadLimits& limits) {
  const std::optional<Format> format = recognise(bytes);
  if (!format) refuse(name, "it is neither PNG, JPEG nor WebP");
  switch (*format) {
    case Format::png:
      return decode_png(bytes, name, limits);
    case Format::jpeg:
      return decode_jpeg(bytes, name, limits);
    case Format::webp:
      return decode_webp(bytes, name, limits);
  }
  refuse(name, "its format is unknown");
}

Picture read_file(const std::filesystem::path& path, const ReadLimits& limits) {
  return decode(MappedFile::open(path)->bytes(), path.string(), limits);
}

const std::string* find_text(const std::vector<TextChunk>& texts, std::string_view key) {
  for (const TextChunk& text : texts) {
    if (text.key == key) return &text.value;
  }
  return nullptr;
}

const std::string* find_parameters(const std::vector<TextChunk>& texts) {
  const std::string* found = find_text(texts, "parameters");
  return found != nullptr ? found : find_text(texts, "UserComment");
}

void refuse(std::string_view name, std::string_view reason) {
  fail(ErrorKind::bad_file, "cannot read picture \"{}\": {}", name, reason);
}

void check_size(std::string_view name, std::int64_t width, std::int64_t height,
                const ReadLimits& limits) {
  if (width <= 0 || height <= 0) refuse(name, "it has no pixels");
  if (width > limits.max_side || height > limits.max_side || width > limits.max_pixels / height) {
    fail(ErrorKind::bad_file,
         "cannot read picture \"{}\": it claims {}x{} pixels, more than the limit of {} a side and "
         "{} in all",
         name, width, height, limits.max_side, limits.max_pixels);
  }
}

Image make_image(std::int64_t width, std::int64_t height, int channels) {
  Image image;
  image.width = static_cast<int>(width);
  image.height = static_cast<int>(height);
  image.channels = channels;
  image.pixels.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) *
                      static_cast<std::size_t>(channels));
  return image;
}

}  // namespace velatura::image
