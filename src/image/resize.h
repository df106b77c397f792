// Pictures to other sizes, by the same arithmetic as Pillow, whose results the reference programs'
// users know.
#pragma once

#include "velatura/image.h"

namespace velatura::image {

/// Lanczos (a = 3) with the support widened when shrinking, in the 8-bit fixed point of Pillow's
/// Resample.c: the bytes equal Image.resize((width, height), Image.LANCZOS) of an RGB picture.
/// Sizes must be positive.
Image resize(const Image& image, int width, int height);

/// Scales until the picture covers width × height and cuts the rest off evenly, as the web UIs'
/// "crop and resize".
Image cover(const Image& image, int width, int height);

/// Without alpha: transparent parts show white, as the web UIs do with an init picture. RGB passes
/// unchanged.
Image to_rgb(Image image);

}  // namespace velatura::image
