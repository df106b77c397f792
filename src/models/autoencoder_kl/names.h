// How files spell the KL codec's tensors. Canonical names are diffusers' current ones; LDM's are
// CompVis' (ldm/modules/diffusionmodules/model.py).
#pragma once

#include <string_view>

#include "models/autoencoder_kl/config.h"
#include "weights/name_map.h"

namespace velatura::models::autoencoder_kl {

/// The prefix of the codec in a whole checkpoint; a codec file of its own has none.
constexpr std::string_view kLdmPrefix = "first_stage_model.";

weights::NameMap ldm_names(const AutoencoderKlConfig& config, std::string_view prefix = kLdmPrefix);

/// The spellings of diffusers folders: the canonical names, and for the attention those of before
/// 0.18 (query, key, value, proj_attn).
weights::NameMap diffusers_names(const AutoencoderKlConfig& config);

}  // namespace velatura::models::autoencoder_kl
