// A mask picture as the region of an adapter. Not here: what a region does (lora/apply).
#pragma once

#include <filesystem>

#include "tensor/tensor.h"

namespace velatura::engine {

/// PNG, JPEG or WebP, stretched over width × height pixels: its transparency where any pixel is
/// not opaque, else its brightness (Rec. 709's shares of the stored values). Then softened by a
/// Gaussian whose standard deviation is `feather` pixels, beyond the edge the edge's own value.
/// Gives f32 [height, width] in [0, 1]. Throws as image::read_file; invalid_argument for a feather
/// below 0, not finite or above the picture's longer side.
Tensor read_region(const std::filesystem::path& path, int width, int height, double feather);

}  // namespace velatura::engine
