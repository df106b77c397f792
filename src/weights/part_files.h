// Where the weights of a model's part lie in its folder. Not here: reading them (source.h).
#pragma once

#include <filesystem>

namespace velatura::weights {

/// The weight file in a part's folder ("unet") as diffusers and transformers of any version save
/// it: safetensors before pickles, whole before sharded (then its index), the plain name before
/// variants. Throws not_found naming what was looked for.
std::filesystem::path find_part_weights(const std::filesystem::path& folder);

}  // namespace velatura::weights
