// WebP by libwebp; its RIFF container is walked here for the metadata.
#include <webp/decode.h>

#include <cstring>

#include "base/error.h"
#include "image/exif.h"
#include "image/formats.h"
#include "image/text_encoding.h"

namespace velatura::image {
namespace {

constexpr std::size_t kRiffHeader = 12;
constexpr std::size_t kChunkHeader = 8;

std::size_t little_endian_32(std::span<const std::byte> bytes, std::size_t at) {
  std::size_t value = 0;
  for (std::size_t i = 4; i-- > 0;)
    value = (value << 8) | std::to_integer<std::size_t>(bytes[at + i]);
  return value;
}

/// The data of the first RIFF chunk called `tag`; empty when there is none or it is cut off.
std::span<const std::byte> find_chunk(std::span<const std::byte> bytes, std::string_view tag) {
  for (std::size_t at = kRiffHeader; at + kChunkHeader <= bytes.size();) {
    const std::size_t size = little_endian_32(bytes, at + 4);
    if (size > bytes.size() - at - kChunkHeader) return {};
    if (std::memcmp(bytes.data() + at, tag.data(), tag.size()) == 0)
      return bytes.subspan(at + kChunkHeader, size);
    at += kChunkHeader + size + (size & 1);  // chunks are padded to even sizes
  }
  return {};
}

std::string_view reason_of(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_OUT_OF_MEMORY:
      return "there is not enough memory";
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
      return "the file ends early";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return "it uses a feature of WebP that libwebp does not know";
    default:
      return "its WebP data is damaged";
  }
}

}  // namespace

Picture decode_webp(std::span<const std::byte> bytes, std::string_view name,
                    const ReadLimits& limits) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(bytes.data());
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0)
    refuse(name, "libwebp has another version than its header");
  const VP8StatusCode header = WebPGetFeatures(data, bytes.size(), &config.input);
  if (header != VP8_STATUS_OK) refuse(name, reason_of(header));
  check_size(name, config.input.width, config.input.height, limits);
  if (config.input.has_animation != 0) {
    fail(ErrorKind::unsupported,
         "cannot read picture \"{}\": it is an animation; give one of its frames", name);
  }

  const int channels = config.input.has_alpha != 0 ? 4 : 3;
  Picture picture{Format::webp, make_image(config.input.width, config.input.height, channels), {}};
  config.output.colorspace = channels == 4 ? MODE_RGBA : MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = picture.image.pixels.data();
  config.output.u.RGBA.stride = picture.image.width * channels;
  config.output.u.RGBA.size = picture.image.pixels.size();
  const VP8StatusCode status = WebPDecode(data, bytes.size(), &config);
  WebPFreeDecBuffer(&config.output);
  if (status != VP8_STATUS_OK) refuse(name, reason_of(status));

  Exif exif = parse_exif(find_chunk(bytes, "EXIF"));
  picture.texts = std::move(exif.texts);
  const std::span<const std::byte> xmp = find_chunk(bytes, "XMP ");
  if (!xmp.empty()) {
    picture.texts.push_back(
        {"XML:com.adobe.xmp",
         guess_to_utf8({reinterpret_cast<const char*>(xmp.data()), xmp.size()})});
  }
  picture.image = upright(std::move(picture.image), exif.orientation);
  return picture;
}

}  // namespace velatura::image
