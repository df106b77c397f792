// Between 8-bit pictures and the planes of floats that models take: one picture, channel by channel
// (CHW), rows from the top. A batch is one call a picture.
#pragma once

#include <span>

#include "velatura/image.h"

namespace velatura::image {

/// planes[3 · width · height] = 2 · (byte / 255) − 1, in float32 as diffusers' VaeImageProcessor
/// computes it. The picture must be RGB (to_rgb).
void to_signed_planes(const Image& image, std::span<float> planes);

/// planes[3 · width · height] = byte / 255.
void to_unit_planes(const Image& image, std::span<float> planes);

/// byte = round(255 · clamp(x / 2 + 0.5, 0, 1)), halves to even, as diffusers. NaN gives 0.
Image from_signed_planes(std::span<const float> planes, int width, int height);

/// byte = round(255 · clamp(x, 0, 1)), halves to even. NaN gives 0.
Image from_unit_planes(std::span<const float> planes, int width, int height);

}  // namespace velatura::image
