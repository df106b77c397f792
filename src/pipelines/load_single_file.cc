#include "pipelines/load_single_file.h"

#include "base/error.h"
#include "base/text_file.h"
#include "models/autoencoder_kl/names.h"
#include "models/ldm_checkpoint.h"
#include "models/registry.h"
#include "weights/name_map.h"

namespace velatura::pipelines {

namespace fs = std::filesystem;

namespace {

template <typename Config>
void read_if_there(const fs::path& path, Config& config) {
  if (is_file(path)) config = Config::from_json(read_text(path));
}

/// What the folder says, over what the shapes say.
models::LdmConfigs read_configs(const weights::Source& source, const fs::path& folder) {
  models::LdmConfigs configs = models::detect_ldm(source);
  if (folder.empty()) return configs;
  if (!is_file(folder / "unet/config.json") && !is_file(folder / "vae/config.json")) {
    fail(ErrorKind::not_found,
         "--config \"{}\": a folder with unet/config.json, vae/config.json, "
         "text_encoder/config.json is expected",
         folder.string());
  }
  read_if_there(folder / "unet/config.json", configs.unet);
  read_if_there(folder / "vae/config.json", configs.vae);
  read_if_there(folder / "text_encoder/config.json", configs.text_encoder);
  return configs;
}

/// Without a configuration: the header's word, else the empty marker tensors that trainers leave.
void detect_prediction(const weights::Source& source, diffusion::NoiseScheduleConfig& noise) {
  if (const auto found = source.metadata().find("modelspec.prediction_type");
      found != source.metadata().end()) {
    if (const auto named = diffusion::prediction_from_name(found->second))
      noise.prediction = *named;
  }
  if (source.find("v_pred") != nullptr) noise.prediction = diffusion::Prediction::v;
  if (source.find("ztsnr") != nullptr) noise.rescale_betas_zero_snr = true;
}

}  // namespace

SingleFileParts open_single_file(const fs::path& path, const fs::path& config) {
  const auto source = weights::open_source(path);
  const models::FileIdentity identity = models::identify(*source);
  models::require_supported(identity, path.string());
  if (identity.kind != models::FileKind::checkpoint) {
    fail(ErrorKind::mismatch,
         "\"{}\" is no whole model but a file of kind {}; --model takes a checkpoint",
         path.string(), to_string(identity.kind));
  }
  const models::LdmConfigs configs = read_configs(*source, config);
  const models::LdmCheckpoint parts = models::open_ldm(source, configs);
  if (!parts.unet || !parts.text_encoder) {
    fail(ErrorKind::not_found, "\"{}\" lacks its {}; a whole model is expected", path.string(),
         parts.unet ? "text encoder" : "denoiser");
  }
  SingleFileParts result{.text_encoder = parts.text_encoder,
                         .unet = parts.unet,
                         .codec = parts.vae,
                         .text_config = configs.text_encoder,
                         .unet_config = configs.unet,
                         .codec_config = configs.vae,
                         .noise = {},
                         .notes = {}};
  if (const fs::path scheduler = config / "scheduler/scheduler_config.json";
      !config.empty() && is_file(scheduler)) {
    result.noise = diffusion::parse_noise_schedule_config(read_text(scheduler), scheduler.string());
  } else {
    detect_prediction(*source, result.noise);
  }
  if (!parts.known_unused.empty()) {
    result.notes.push_back(fmt::format("{}: {} tensors that a model does not use (\"{}\" …)",
                                       path.filename().string(), parts.known_unused.size(),
                                       parts.known_unused.front()));
  }
  if (!parts.unknown.empty()) {
    result.notes.push_back(fmt::format("{}: {} tensors are not part of the model, \"{}\" for one",
                                       path.filename().string(), parts.unknown.size(),
                                       parts.unknown.front()));
  }
  return result;
}

SingleFileCodec open_single_codec(std::shared_ptr<const weights::Source> source,
                                  const fs::path& config) {
  const models::FileIdentity identity = models::identify(*source);
  models::require_supported(identity, source->description());
  if (identity.kind != models::FileKind::codec && identity.kind != models::FileKind::checkpoint) {
    fail(ErrorKind::mismatch, "\"{}\" is no picture codec but a file of kind {}",
         source->description(), to_string(identity.kind));
  }
  const models::LdmConfigs configs = read_configs(*source, config);
  if (const models::LdmCheckpoint parts = models::open_ldm(source, configs); parts.vae)
    return {parts.vae, configs.vae};
  weights::NameMap rows = models::autoencoder_kl::diffusers_names(configs.vae);
  return {std::make_shared<const weights::MappedSource>(std::move(source), std::move(rows)),
          configs.vae};
}

}  // namespace velatura::pipelines
