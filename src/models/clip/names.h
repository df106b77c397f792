// How files spell CLIP's text encoder. Canonical names are transformers' CLIPTextModel
// ("text_model.encoder.layers.0…").
#pragma once

#include <span>
#include <string_view>

#include "models/clip/config.h"
#include "weights/name_map.h"

namespace velatura::models::clip {

/// The prefix of the text encoder in an SD1 checkpoint.
constexpr std::string_view kLdmPrefix = "cond_stage_model.transformer.";

/// All spellings under which SD1's encoder is met: with `prefix` and "text_model." (as transformers
/// ≤ 4.30 saved into LDM checkpoints), with `prefix` alone (older merges), and without `prefix`
/// both ways (a file of its own).
weights::NameMap names(const ClipTextConfig& config, std::string_view prefix = kLdmPrefix);

/// OpenCLIP's rows (open_clip, src/open_clip/transformer.py), without prefix, for a text encoder's
/// canonical parameters: SDXL's second encoder in LDM checkpoints. Queries, keys and values are one
/// matrix there, and the projection is stored as its transpose.
weights::NameMap openclip_names(std::span<const weights::TensorInfo> canonical);

}  // namespace velatura::models::clip
