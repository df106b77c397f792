// Files for the tests of this room, made by the vendors' own encoders. Not part of the library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "image/codec.h"

namespace velatura::image::testing {

using Bytes = std::vector<std::byte>;

/// A smooth picture in which every pixel differs from its neighbours and the channels from each
/// other.
Image gradient(int width, int height, int channels);

/// `pixels` in PNG's own layout for that colour type and depth; a palette of four colours, of which
/// the second is half transparent, goes with PNG_COLOR_TYPE_PALETTE.
struct PngLayout {
  int color_type;
  int bit_depth;
  bool interlaced = false;
  std::string text = {};  ///< raw bytes of a tEXt chunk called Comment that follows the pixels
};
Bytes make_png(int width, int height, const PngLayout& layout,
               std::span<const std::uint8_t> pixels);

/// Quality 95. `channels` 1, 3 or 4 (CMYK, stored inverted as Adobe does).
Bytes make_jpeg(int width, int height, int channels, std::span<const std::uint8_t> pixels,
                std::string_view exif = {}, bool progressive = false);

/// Lossless, with an EXIF chunk when `exif` is not empty.
Bytes make_webp(const Image& image, std::string_view exif = {});

/// A TIFF block with an orientation and a UserComment (charset code and text as given).
std::string make_exif(int orientation, std::string_view user_comment, bool big_endian);

}  // namespace velatura::image::testing
