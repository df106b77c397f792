// How files spell Z-Image's transformer. Canonical names are diffusers' (ZImageTransformer2DModel)
// and the official repository's; the single-file naming is ComfyUI's (that of Lumina 2), whose
// queries, keys and values are one matrix.
#pragma once

#include <span>

#include "weights/name_map.h"

namespace velatura::models::z_image {

/// Rows for those of `canonical` that a Z-Image transformer has; file names without prefix.
weights::NameMap native_names(std::span<const weights::TensorInfo> canonical);

}  // namespace velatura::models::z_image
