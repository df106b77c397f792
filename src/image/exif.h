// What we read of EXIF: the texts generators write, and the orientation. Not here: cameras.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "image/codec.h"

namespace velatura::image {

struct Exif {
  std::vector<TextChunk> texts;  ///< named as TextChunk says
  int orientation = 1;           ///< 1..8 of the TIFF tag; 1 as stored
};

/// Reads a TIFF block (an optional "Exif\0\0" before it is skipped). Damage is never an error:
/// metadata that cannot be read must not hide the picture, so what is readable comes back.
Exif parse_exif(std::span<const std::byte> block);

/// Turns the stored rows into the upright picture, as PIL.ImageOps.exif_transpose does.
Image upright(Image image, int orientation);

}  // namespace velatura::image
