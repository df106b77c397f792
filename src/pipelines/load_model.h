// From paths to a loaded model: diffusers folders, single files, parts from elsewhere. Not here:
// how names find paths (engine/roots.h), what file formats look like (weights/).
#pragma once

#include <filesystem>
#include <memory>

#include "models/rrdbnet/rrdbnet.h"
#include "pipelines/diffusion_model.h"

namespace velatura::pipelines {

struct LoadRequest {
  std::filesystem::path model;  ///< diffusers folder or single file
  std::filesystem::path
      config;  ///< folder with unet/, vae/, text_encoder/, scheduler/ configurations; may be empty
  std::filesystem::path vae;  ///< codec to use instead of the model's; may be empty
};

/// Weights stay mapped. Sizes come from configurations beside the weights or in `config`; for a
/// single file without them from its shapes, and what shapes cannot tell from the family's
/// published member. Throws not_found, bad_file, mismatch; unsupported naming the family for models
/// that this version does not run.
std::shared_ptr<const DiffusionModel> load_model(const LoadRequest& request);

/// A codec from a file or a folder: full (KL) or tiny, by its tensors. `config` as above.
std::shared_ptr<const PictureCodec> load_codec(const std::filesystem::path& path,
                                               const std::filesystem::path& config);

using Upscaler = nn::Model<models::rrdbnet::RrdbNet>;
std::shared_ptr<const Upscaler> load_upscaler(const std::filesystem::path& path);

}  // namespace velatura::pipelines
