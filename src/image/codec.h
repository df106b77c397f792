// Picture files: which format bytes are, reading PNG, JPEG and WebP with their texts, writing PNG.
// Not here: what the texts mean (infotext.h), where files go (base/atomic_file.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "velatura/image.h"

namespace velatura::image {

enum class Format { png, jpeg, webp };

/// By the first bytes, never by a file name.
std::optional<Format> recognise(std::span<const std::byte> bytes);
std::string_view to_string(Format format);

/// One text of a picture, both UTF-8. PNG: the chunk's keyword and text (tEXt, zTXt, iTXt), in file
/// order. JPEG, WebP and PNG with EXIF: "UserComment", "ImageDescription"; values that programs
/// write as `prompt:…` or `workflow:…` into EXIF's Make and Model come under those names; XMP comes
/// raw as "XML:com.adobe.xmp".
struct TextChunk {
  std::string key;
  std::string value;

  bool operator==(const TextChunk&) const = default;
};

struct Picture {
  Format format = Format::png;
  Image image;
  std::vector<TextChunk> texts;
};

/// Memory bounds against hostile files. 2^28 pixels is 16384 squared, the largest WebP and a 4096²
/// picture times 4.
struct ReadLimits {
  std::int64_t max_side = 65535;
  std::int64_t max_pixels = std::int64_t{1} << 28;
};

/// Decodes any of the formats to 8-bit RGB, or RGBA where the file has transparency: palettes and
/// grey are expanded, 16 bits scaled, CMYK converted, EXIF's orientation applied. Colour profiles
/// and gamma are not applied (neither do the reference programs). `name` stands in messages.
/// Thread-safe. Throws bad_file (damaged, truncated, no picture, over the limits) and unsupported
/// (an animation).
Picture decode(std::span<const std::byte> bytes, std::string_view name,
               const ReadLimits& limits = {});

/// decode() of a file; also throws not_found and io.
Picture read_file(const std::filesystem::path& path, const ReadLimits& limits = {});

/// The value of the first text called `key`, or nullptr.
const std::string* find_text(const std::vector<TextChunk>& texts, std::string_view key);

/// The web UIs' generation text, wherever the format keeps it: `parameters` in PNG, else EXIF's
/// UserComment.
const std::string* find_parameters(const std::vector<TextChunk>& texts);

/// The bytes of a PNG file. Texts become tEXt where Latin-1 holds them and iTXt (UTF-8,
/// uncompressed) else, in the order given, before the pixels. The same input gives the same bytes
/// with the same zlib and libpng. Throws invalid_argument for a key PNG forbids (1–79 Latin-1
/// characters) or a text that is not UTF-8 or holds a NUL.
std::vector<std::byte> encode_png(const Image& image, std::span<const TextChunk> texts = {});

}  // namespace velatura::image
