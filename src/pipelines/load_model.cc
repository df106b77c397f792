#include "pipelines/load_model.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text_file.h"
#include "models/autoencoder_kl/names.h"
#include "models/autoencoder_tiny/names.h"
#include "models/clip/names.h"
#include "models/rrdbnet/names.h"
#include "models/unet/names.h"
#include "pipelines/load_single_file.h"
#include "weights/name_map.h"
#include "weights/part_files.h"

namespace velatura::pipelines {

namespace fs = std::filesystem;
using models::autoencoder_kl::AutoencoderKl;
using models::autoencoder_kl::AutoencoderKlConfig;
using models::autoencoder_tiny::AutoencoderTiny;
using models::autoencoder_tiny::AutoencoderTinyConfig;
using models::clip::ClipTextConfig;
using models::unet::UNetConfig;

namespace {

/// model_index.json names the pipeline's class: others than ours are refused by it.
void check_pipeline_class(const fs::path& folder) {
  const fs::path index = folder / "model_index.json";
  if (!is_file(index)) return;
  const auto json = nlohmann::json::parse(read_text(index), nullptr, false);
  if (!json.is_object()) fail(ErrorKind::bad_file, "{}: not a JSON object", index.string());
  const auto found = json.find("_class_name");
  if (found == json.end() || !found->is_string()) return;
  const std::string& name = found->get_ref<const std::string&>();
  constexpr auto kRuns =
      std::to_array<std::string_view>({"StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline",
                                       "LatentConsistencyModelPipeline"});
  if (std::ranges::find(kRuns, name) != kRuns.end()) return;
  fail(ErrorKind::unsupported, "{}: a {}; this version runs Stable Diffusion 1.x models only",
       folder.string(), name);
}

template <typename Module, typename Config>
std::shared_ptr<const nn::Model<Module>> construct(const Config& config,
                                                   std::shared_ptr<const weights::Source> source,
                                                   std::vector<std::string>& notes) {
  const weights::Scope scope(std::move(source));
  auto model = std::make_shared<const nn::Model<Module>>(config, scope);
  std::size_t unused = 0;
  std::string first;
  for (const std::string& name : scope.unused()) {
    if (name.ends_with("position_ids")) continue;  // a buffer of 0…76 that old versions saved
    if (unused++ == 0) first = name;
  }
  if (unused > 0)
    notes.push_back(fmt::format("{}: {} tensors are not part of the model, \"{}\" for one",
                                scope.source().description(), unused, first));
  return model;
}

std::shared_ptr<const weights::Source> mapped(std::shared_ptr<const weights::Source> source,
                                              weights::NameMap rows) {
  return std::make_shared<const weights::MappedSource>(std::move(source), std::move(rows));
}

fs::path config_file(const fs::path& folder, const char* part, const char* name) {
  const fs::path path = folder / part / name;
  if (!is_file(path))
    fail(ErrorKind::not_found,
         "\"{}\" lacks {}/{}; a model's folder has unet, vae, text_encoder and scheduler",
         folder.string(), part, name);
  return path;
}

template <typename Config>
Config read_config(const fs::path& path) {
  try {
    return Config::from_json(read_text(path));
  } catch (const Error& error) {
    throw Error(error.kind(), fmt::format("{}: {}", path.string(), error.what()));
  }
}

void load_folder(const fs::path& folder, const LoadRequest& request, DiffusionModel& model) {
  check_pipeline_class(folder);
  const auto text_config =
      read_config<ClipTextConfig>(config_file(folder, "text_encoder", "config.json"));
  const auto unet_config = read_config<UNetConfig>(config_file(folder, "unet", "config.json"));
  model.text_encoder = construct<models::clip::TextEncoder>(
      text_config, weights::open_source(weights::find_part_weights(folder / "text_encoder")),
      model.notes);
  model.unet = construct<models::unet::UNet>(
      unet_config, weights::open_source(weights::find_part_weights(folder / "unet")), model.notes);
  if (request.vae.empty()) model.codec = load_codec(folder / "vae", folder);
  if (is_file(folder / "tokenizer" / "merges.txt"))
    model.tokenizer = tokenizers::ClipBpe::from_folder(folder / "tokenizer");
  const fs::path scheduler = config_file(folder, "scheduler", "scheduler_config.json");
  model.noise = diffusion::parse_noise_schedule_config(read_text(scheduler), scheduler.string());
}

void load_file(const fs::path& path, const LoadRequest& request, DiffusionModel& model) {
  SingleFileParts parts = open_single_file(path, request.config);
  model.text_encoder =
      construct<models::clip::TextEncoder>(parts.text_config, parts.text_encoder, model.notes);
  model.unet = construct<models::unet::UNet>(parts.unet_config, parts.unet, model.notes);
  if (request.vae.empty()) {
    if (!parts.codec)
      fail(ErrorKind::not_found, "{} holds no picture codec; give one with --vae", path.string());
    model.codec =
        make_codec(construct<AutoencoderKl>(parts.codec_config, parts.codec, model.notes));
  }
  model.noise = parts.noise;
  for (std::string& note : parts.notes) model.notes.push_back(std::move(note));
}

}  // namespace

std::shared_ptr<const PictureCodec> load_codec(const fs::path& path, const fs::path& config) {
  std::vector<std::string> notes;
  std::error_code ignored;
  const bool is_folder = fs::is_directory(path, ignored);
  const auto source = weights::open_source(is_folder ? weights::find_part_weights(path) : path);
  if (weights::NameMap tiny = models::autoencoder_tiny::names(*source); !tiny.empty()) {
    const auto named = mapped(source, std::move(tiny));
    return make_codec(
        construct<AutoencoderTiny>(AutoencoderTinyConfig::detect(*named), named, notes));
  }
  if (is_folder || is_file(path.parent_path() / "config.json")) {
    const auto codec_config =
        read_config<AutoencoderKlConfig>((is_folder ? path : path.parent_path()) / "config.json");
    return make_codec(construct<AutoencoderKl>(
        codec_config, mapped(source, models::autoencoder_kl::diffusers_names(codec_config)),
        notes));
  }
  SingleFileCodec codec = open_single_codec(source, config);
  return make_codec(construct<AutoencoderKl>(codec.config, codec.source, notes));
}

std::shared_ptr<const Upscaler> load_upscaler(const fs::path& path) {
  const auto source = weights::open_source(path);
  weights::NameMap rows = models::rrdbnet::names(*source);
  if (rows.empty())
    fail(ErrorKind::unsupported,
         "{} is no RRDBNet upscaler in the current naming (conv_first, body.N.rdbN.convN …)",
         path.string());
  const auto named = mapped(source, std::move(rows));
  return std::make_shared<const Upscaler>(models::rrdbnet::RrdbNetConfig::detect(*named),
                                          weights::Scope(named));
}

std::shared_ptr<const DiffusionModel> load_model(const LoadRequest& request) {
  auto model = std::make_shared<DiffusionModel>(DiffusionModel{
      .name = request.model.stem().string(), .tokenizer = tokenizers::ClipBpe::embedded()});
  std::error_code ignored;
  if (fs::is_directory(request.model, ignored)) {
    model->name = fs::weakly_canonical(request.model, ignored).filename().string();
    load_folder(request.model, request, *model);
  } else {
    load_file(request.model, request, *model);
  }
  if (!request.vae.empty()) {
    const fs::path config = request.config.empty() && fs::is_directory(request.model, ignored)
                                ? request.model
                                : request.config;
    model->codec = load_codec(request.vae, config);
  }
  const UNetConfig& unet = (*model->unet)->config();
  if (model->codec->latent_channels() != unet.in_channels) {
    fail(ErrorKind::mismatch,
         "the picture codec has {} latent channels, the denoiser {}: they do not belong together",
         model->codec->latent_channels(), unet.in_channels);
  }
  model->default_side = unet.sample_size * model->codec->factor();
  model->components = {
      lora::component_of("unet", weights::Part::unet, model->unet->tree(),
                         models::unet::ldm_names(unet, "")),
      lora::component_of("te", weights::Part::clip_l, model->text_encoder->tree(), {})};
  model->names = std::make_shared<const lora::NameIndex>(model->components);
  return model;
}

}  // namespace velatura::pipelines
