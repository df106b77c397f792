// How files spell FLUX.1's transformer. Canonical names are diffusers' (FluxTransformer2DModel);
// the single-file naming is that of its authors (black-forest-labs/flux, src/flux/model.py), whose
// queries, keys, values and, in single blocks, the MLP's first layer are one matrix.
#pragma once

#include <span>

#include "weights/name_map.h"

namespace velatura::models::flux {

/// Rows for those of `canonical` that a FLUX.1 transformer has; file names without prefix.
weights::NameMap native_names(std::span<const weights::TensorInfo> canonical);

}  // namespace velatura::models::flux
