// How files spell the UNet's tensors. Canonical names are diffusers'
// ("down_blocks.0.resnets.0.conv1.weight"); the single-file naming is CompVis' latent-diffusion
// (LDM, ldm/modules/diffusionmodules/openaimodel.py).
#pragma once

#include <span>
#include <string_view>

#include "models/unet/config.h"
#include "weights/name_map.h"

namespace velatura::models::unet {

/// The prefix of a denoiser in a whole checkpoint.
constexpr std::string_view kLdmPrefix = "model.diffusion_model.";

/// LDM's rows for a UNet of this shape: every tensor of it, no other.
weights::NameMap ldm_names(const UNetConfig& config, std::string_view prefix = kLdmPrefix);

/// LDM's rows, without prefix, for a list of canonical parameters: those of SDXL's added embedding
/// too. Throws bad_file where the list is of no UNet.
weights::NameMap native_names(std::span<const weights::TensorInfo> canonical);

}  // namespace velatura::models::unet
