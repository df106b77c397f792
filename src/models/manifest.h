// Names and shapes of the full-size models' parameters, embedded in the program. Not here: weights.
#pragma once

#include <string_view>
#include <vector>

#include "weights/source.h"

namespace velatura::models {

/// The parameters of `name` (file name of models/manifests without ".json.gz", "sd15.unet.native"
/// say), in the file's order, type f16. Throws not_found.
std::vector<weights::TensorInfo> manifest(std::string_view name);

}  // namespace velatura::models
