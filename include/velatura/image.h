// A picture in memory: what goes in (an init picture) and what comes out. Not here: files,
// metadata, resizing.
#pragma once

#include <cstdint>
#include <vector>

namespace velatura {

/// Rows from top to bottom, pixels from left to right, `channels` bytes a pixel: 3 = red, green,
/// blue; 4 = those and alpha (255 opaque, not premultiplied). Values are sRGB as stored in files.
/// `pixels` holds width · height · channels bytes without padding; an empty picture has all sizes
/// 0. A plain value: copies are independent.
struct Image {
  int width = 0;
  int height = 0;
  int channels = 3;
  std::vector<std::uint8_t> pixels;

  bool operator==(const Image&) const = default;
};

}  // namespace velatura
