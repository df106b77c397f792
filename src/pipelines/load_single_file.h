// The parts of a single-file checkpoint (LDM naming) under canonical names, with their
// configurations.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "diffusion/noise_schedule.h"
#include "models/autoencoder_kl/config.h"
#include "models/clip/config.h"
#include "models/unet/config.h"
#include "weights/source.h"

namespace velatura::pipelines {

struct SingleFileParts {
  std::shared_ptr<const weights::Source> text_encoder, unet,
      codec;  ///< codec null where the file has none
  models::clip::ClipTextConfig text_config;
  models::unet::UNetConfig unet_config;
  models::autoencoder_kl::AutoencoderKlConfig codec_config;
  diffusion::NoiseScheduleConfig noise;
  std::vector<std::string> notes;  ///< what was recognised and not used, and why
};

/// `config`: a folder with configurations (a diffusers folder, say), or empty: shapes tell, and
/// what they cannot tell is the published SD1.5's. Prediction type: the configuration's, else
/// modelspec.prediction_type, else marker tensors. Throws unsupported naming the family for
/// checkpoints of others.
SingleFileParts open_single_file(const std::filesystem::path& path,
                                 const std::filesystem::path& config);

struct SingleFileCodec {
  std::shared_ptr<const weights::Source> source;
  models::autoencoder_kl::AutoencoderKlConfig config;
};
/// A KL codec alone or inside a checkpoint, in LDM's or diffusers' naming.
SingleFileCodec open_single_codec(std::shared_ptr<const weights::Source> source,
                                  const std::filesystem::path& config);

}  // namespace velatura::pipelines
