#include "models/registry.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/error.h"
#include "base/text_file.h"
#include "models/autoencoder_tiny/names.h"
#include "models/config_reader.h"
#include "models/rrdbnet/names.h"

namespace velatura::models {

namespace {

struct Family {
  std::string_view id;
  std::string_view full_name;
};
constexpr std::string_view kSd15 = "sd15";
constexpr std::array kFamilies = {Family{kSd15, "Stable Diffusion 1.x"},
                                  Family{"sd2", "Stable Diffusion 2.x"},
                                  Family{"sdxl", "Stable Diffusion XL"},
                                  Family{"sdxl-refiner", "the Stable Diffusion XL refiner"},
                                  Family{"sd3", "Stable Diffusion 3"},
                                  Family{"svd", "Stable Video Diffusion"},
                                  Family{"flux", "FLUX.1"},
                                  Family{"flux2", "FLUX.2"},
                                  Family{"chroma", "Chroma"},
                                  Family{"z-image", "Z-Image"},
                                  Family{"lumina", "Lumina"},
                                  Family{"qwen-image", "Qwen-Image"},
                                  Family{"pixart", "PixArt"},
                                  Family{"hunyuan-video", "HunyuanVideo"},
                                  Family{"wan", "Wan"},
                                  Family{"animatediff", "AnimateDiff"},
                                  Family{"t5", "the T5 text encoder"},
                                  Family{"qwen3", "the Qwen3 text encoder"}};

std::string_view full_name(std::string_view family) {
  const auto found = std::find_if(kFamilies.begin(), kFamilies.end(),
                                  [&](const Family& f) { return f.id == family; });
  return found == kFamilies.end() ? family : found->full_name;
}

FileIdentity supported(FileKind kind, std::string_view family, std::string variant = "") {
  return {kind, std::string(family), std::move(variant), true, ""};
}
FileIdentity refused(FileKind kind, std::string_view family, std::string variant,
                     std::string reason) {
  return {kind, std::string(family), std::move(variant), false, std::move(reason)};
}
/// A family that is known by name only.
FileIdentity other_family(FileKind kind, std::string_view family, std::string variant = "") {
  return refused(kind, family, std::move(variant),
                 fmt::format("it is {} ({}), which this version does not run; it runs {}",
                             full_name(family), to_string(kind), full_name(kSd15)));
}

/// Questions to a list of names.
class Names {
 public:
  explicit Names(const weights::Source& source) : source_(source) {}
  const weights::TensorInfo* find(std::string_view name) const { return source_.find(name); }
  bool has(std::string_view name) const { return find(name) != nullptr; }
  bool any(auto&& predicate) const {
    return std::any_of(
        source_.tensors().begin(), source_.tensors().end(),
        [&](const weights::TensorInfo& info) { return predicate(std::string_view(info.name)); });
  }
  bool any_begins(std::string_view prefix) const {
    return any([&](std::string_view name) { return name.starts_with(prefix); });
  }
  bool any_contains(std::string_view part) const {
    return any([&](std::string_view name) { return name.find(part) != std::string_view::npos; });
  }
  /// First tensor whose name ends in `suffix` and contains `part`.
  const weights::TensorInfo* first(std::string_view part, std::string_view suffix) const {
    for (const weights::TensorInfo& info : source_.tensors()) {
      if (info.name.ends_with(suffix) && info.name.find(part) != std::string::npos) return &info;
    }
    return nullptr;
  }
  static std::int64_t extent(const weights::TensorInfo* info, int axis) {
    return info != nullptr && info->shape.rank() > axis ? info->shape[axis] : 0;
  }
  const weights::Source& source() const { return source_; }

 private:
  const weights::Source& source_;
};

/// Widths of the text's hidden states that tell a UNet's family; any other is a small or own model
/// of SD1's design.
std::string_view family_of_width(std::int64_t cross_attention_width) {
  switch (cross_attention_width) {
    case 1024:
      return "sd2";
    case 1280:
      return "sdxl-refiner";
    case 2048:
      return "sdxl";
    default:
      return kSd15;
  }
}

// One question a function; each knows one kind of file. The order of the table below matters.

std::optional<FileIdentity> embedding(const Names& names) {
  constexpr std::size_t kMostTensors = 4;
  const auto& all = names.source().tensors();
  if (all.empty() || all.size() > kMostTensors) return std::nullopt;
  const bool by_name = names.any_begins("string_to_param") || names.has("emb_params") ||
                       names.has("clip_l") || names.has("clip_g");
  const bool by_shape = all.size() == 1 && all[0].shape.rank() >= 1 && all[0].shape.rank() <= 2 &&
                        is_floating(all[0].dtype) && !all[0].name.ends_with(".weight") &&
                        !all[0].name.ends_with(".bias");
  if (!by_name && !by_shape) return std::nullopt;
  if (names.has("clip_g")) return other_family(FileKind::embedding, "sdxl");
  const std::int64_t width = all[0].shape.rank() > 0 ? all[0].shape[-1] : 0;
  const std::string_view family = family_of_width(width);
  if (family != kSd15)
    return other_family(FileKind::embedding, family == "sdxl-refiner" ? "sdxl" : family);
  return supported(FileKind::embedding, kSd15);
}

/// Suffixes of lora-formats.md section 0 that no plain model has.
bool is_adapter_name(std::string_view name) {
  static constexpr std::array kSuffixes = {".lora_down.weight",
                                           ".lora_up.weight",
                                           ".lora_mid.weight",
                                           "lora.down.weight",
                                           "lora.up.weight",
                                           "_lora.down.weight",
                                           "_lora.up.weight",
                                           "lora_linear_layer.down.weight",
                                           "lora_linear_layer.up.weight",
                                           ".lora_A.weight",
                                           ".lora_B.weight",
                                           ".lora_A",
                                           ".lora_B",
                                           ".dora_scale",
                                           ".hada_w1_a",
                                           ".lokr_w1",
                                           ".lokr_w1_a",
                                           ".oft_blocks",
                                           ".oft_diag",
                                           ".oft_R.weight",
                                           ".on_input",
                                           ".diff",
                                           ".diff_b",
                                           ".set_weight",
                                           ".ia3_l"};
  for (const std::string_view suffix : kSuffixes) {
    if (name.ends_with(suffix)) return true;
  }
  return name.find(".lora_A.") != std::string_view::npos ||
         name.find("_lora1.") != std::string_view::npos || name.starts_with("lora_unet_") ||
         name.starts_with("lora_te") || name.starts_with("unet:");
}

/// The pickled lists of cloneofsimo's first scripts: matrices "0", "1", … in pairs.
bool is_matrix_list(const Names& names) {
  const auto& all = names.source().tensors();
  if (all.size() < 2 || all.size() % 2 != 0) return false;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].name != std::to_string(i) || all[i].shape.rank() != 2) return false;
  }
  return true;
}

std::optional<FileIdentity> adapter(const Names& names) {
  if (names.has("lora_controlnet"))
    return refused(FileKind::control, "", "control-lora",
                   "it is a control-LoRA, which this version does not run");
  if (is_matrix_list(names)) return supported(FileKind::adapter, "", "list of matrices");
  if (!names.any(is_adapter_name)) return std::nullopt;
  for (const auto& [part, family] : {std::pair{"double_stream_modulation", "flux2"},
                                     {"joint_blocks", "sd3"},
                                     {"double_blocks", "flux"},
                                     {"single_transformer_blocks", "flux"},
                                     {"noise_refiner", "z-image"},
                                     {"layers.0.feed_forward", "z-image"},
                                     {"layers_0_feed_forward", "z-image"},
                                     {"img_mlp", "qwen-image"},
                                     {"lora_te2_", "sdxl"},
                                     {"text_encoder_2", "sdxl"},
                                     {"label_emb", "sdxl"},
                                     {"add_embedding", "sdxl"},
                                     {"transformer_blocks_2_", "sdxl"},
                                     {"transformer_blocks.2.", "sdxl"}}) {
    if (names.any_contains(part)) return other_family(FileKind::adapter, family);
  }
  for (const char* suffix : {"to_k.lora_down.weight", "to_k_lora.down.weight",
                             "to_k.lora.down.weight", "to_k.lora_A.weight"}) {
    if (const auto* down = names.first("attn2", suffix)) {
      const std::string_view family = family_of_width(Names::extent(down, 1));
      return family == kSd15 ? supported(FileKind::adapter, kSd15)
                             : other_family(FileKind::adapter, family);
    }
  }
  return supported(FileKind::adapter, "");
}

std::optional<FileIdentity> control(const Names& names) {
  for (const auto& [part, what] : {std::pair{"controlnet_", "ControlNet"},
                                   {"control_model.", "ControlNet"},
                                   {"input_hint_block", "ControlNet"},
                                   {"zero_convs.", "ControlNet"},
                                   {"ip_adapter", "IP-Adapter"},
                                   {"image_proj.", "IP-Adapter"}}) {
    if (names.any_begins(part)) {
      return refused(FileKind::control, "", what,
                     fmt::format("it is a {}, which this version does not run", what));
    }
  }
  if (names.any_contains("motion_modules."))
    return other_family(FileKind::control, "animatediff", "motion module");
  return std::nullopt;
}

/// Denoisers that are transformers, by a name that only they have.
std::optional<FileIdentity> transformer(const Names& names) {
  const bool whole = names.any_begins("vae.") || names.any_begins("text_encoders.");
  const FileKind kind = whole ? FileKind::checkpoint : FileKind::denoiser;
  for (const auto& [part, family] : {std::pair{"double_stream_modulation", "flux2"},
                                     {"joint_blocks.", "sd3"},
                                     {"distilled_guidance_layer.", "chroma"},
                                     {"txt_in.individual_token_refiner", "hunyuan-video"},
                                     {"double_blocks.", "flux"},
                                     {"single_transformer_blocks.", "flux"},
                                     {"img_mlp.net", "qwen-image"},
                                     {"pos_embed.proj", "sd3"},
                                     {"caption_projection", "pixart"},
                                     {"patch_embedding.", "wan"}}) {
    if (names.any_contains(part)) return other_family(kind, family);
  }
  if (const auto* refiner = names.first("noise_refiner.0", "attention_norm1.weight")) {
    constexpr std::int64_t kLumina2Width = 2304;
    return other_family(kind, Names::extent(refiner, 0) == kLumina2Width ? "lumina" : "z-image");
  }
  return std::nullopt;
}

/// What the first convolution takes beside a latent of `latent` channels.
std::optional<std::pair<std::string, std::string>> extra_input(std::int64_t channels,
                                                               std::int64_t latent) {
  if (channels == latent) return std::nullopt;
  if (channels == 2 * latent + 1)
    return std::pair{"inpainting",
                     fmt::format("an inpainting model ({} input channels)", channels)};
  if (channels == 2 * latent)
    return std::pair{"instruct-pix2pix",
                     fmt::format("an instruct-pix2pix model ({} input channels)", channels)};
  if (channels == latent + 1)
    return std::pair{"depth", fmt::format("a depth-guided model ({} input channels)", channels)};
  return std::pair{"", fmt::format("a model with {} input channels", channels)};
}

struct UNetView {
  const weights::TensorInfo* first = nullptr;   // convolution, first
  const weights::TensorInfo* last = nullptr;    // convolution, last
  const weights::TensorInfo* cross = nullptr;   // any cross attention's to_k
  const weights::TensorInfo* vector = nullptr;  // embedding of SDXL's added conditions
  std::string variant;
};

std::optional<UNetView> find_unet(const Names& names) {
  UNetView view{.cross = names.first("attn2", "to_k.weight")};
  for (const std::string prefix : {"model.diffusion_model.", "diffusion_model.", ""}) {
    view.first = names.find(prefix + "input_blocks.0.0.weight");
    view.last = names.find(prefix + "out.2.weight");
    view.vector = names.find(prefix + "label_emb.0.0.weight");
    view.variant = "ldm";
    if (view.first != nullptr && view.last != nullptr) return view;
  }
  view.first = names.find("conv_in.weight");
  view.last = names.find("conv_out.weight");
  view.vector = names.find("add_embedding.linear_1.weight");
  view.variant = "diffusers";
  if (view.first != nullptr && view.last != nullptr && names.has("time_embedding.linear_1.weight"))
    return view;
  return std::nullopt;
}

std::optional<FileIdentity> unet_model(const Names& names) {
  const std::optional<UNetView> view = find_unet(names);
  if (!view) {
    if (names.any_begins("model_ema.")) {
      return refused(FileKind::checkpoint, "", "averaged weights only",
                     "it holds averaged weights (model_ema) without the model beside them");
    }
    return std::nullopt;
  }
  const bool whole = names.any_begins("first_stage_model.") &&
                     (names.any_begins("cond_stage_model.") || names.any_begins("conditioner."));
  const FileKind kind = whole ? FileKind::checkpoint : FileKind::denoiser;
  if (names.any_contains("time_stack.") || names.any_contains("temporal_transformer_blocks"))
    return other_family(kind, "svd");
  std::string_view family = family_of_width(Names::extent(view->cross, 1));
  if (view->vector != nullptr && family != "sdxl-refiner") family = "sdxl";
  if (names.any_begins("conditioner.embedders.1")) family = "sdxl";
  if (names.any_begins("cond_stage_model.model.") && family == kSd15) family = "sd2";
  const auto extra = extra_input(Names::extent(view->first, 1), Names::extent(view->last, 0));
  if (family != kSd15) return other_family(kind, family, extra ? extra->first : view->variant);
  if (extra) {
    return refused(kind, kSd15, extra->first,
                   fmt::format("it is {} of the family {}, which this version does not run",
                               extra->second, full_name(kSd15)));
  }
  if (names.any_contains("time_embedding.cond_proj")) {
    return refused(kind, kSd15, "lcm",
                   "it is a distilled model with a guidance embedding (LCM), which this version "
                   "does not run; an LCM LoRA does the same");
  }
  return supported(kind, kSd15, view->variant);
}

std::optional<FileIdentity> text_encoder(const Names& names) {
  if (names.has("encoder.block.0.layer.0.SelfAttention.q.weight"))
    return other_family(FileKind::text_encoder, "t5");
  if (names.has("model.layers.0.self_attn.q_proj.weight"))
    return other_family(FileKind::text_encoder, "qwen3");
  if (names.any_contains("transformer.resblocks.")) {
    return refused(FileKind::text_encoder, "", "openclip",
                   "it is an OpenCLIP text encoder (of Stable Diffusion 2.x or XL), which this "
                   "version does not run");
  }
  const auto* tokens = names.first("embeddings.token_embedding", ".weight");
  if (tokens == nullptr || names.first("encoder.layers.0.", "mlp.fc1.weight") == nullptr)
    return std::nullopt;
  const std::string_view family = family_of_width(Names::extent(tokens, 1));
  if (family != kSd15)
    return other_family(FileKind::text_encoder, family == "sdxl-refiner" ? "sdxl" : family);
  return supported(FileKind::text_encoder, kSd15, "clip");
}

std::optional<FileIdentity> codec(const Names& names) {
  constexpr std::int64_t kSd15LatentChannels = 4;
  const auto latent_kind = [&](std::int64_t channels, std::string variant) {
    if (channels == kSd15LatentChannels) return supported(FileKind::codec, "", std::move(variant));
    return refused(FileKind::codec, "", std::move(variant),
                   fmt::format("it is a codec of {} latent channels (FLUX.1 and Stable Diffusion 3 "
                               "have 16); {} has {}",
                               channels, full_name(kSd15), kSd15LatentChannels));
  };
  if (const weights::NameMap rows = autoencoder_tiny::names(names.source()); !rows.empty()) {
    const weights::TensorInfo *encoder = nullptr, *decoder = nullptr, *last = nullptr;
    for (const weights::NameRow& row : rows) {
      const weights::TensorInfo* info = names.find(row.file);
      if (row.canonical == "decoder.layers.0.weight") decoder = info;
      if (row.canonical == "encoder.layers.0.weight") encoder = info;
      if (row.canonical.starts_with("encoder.") && row.canonical.ends_with(".bias")) {
        if (last == nullptr || Names::extent(info, 0) < Names::extent(last, 0))
          last = info;  // the narrowest: latents
      }
    }
    if (decoder != nullptr || encoder != nullptr) {
      const std::int64_t channels =
          Names::extent(decoder != nullptr ? decoder : last, decoder != nullptr ? 1 : 0);
      FileIdentity identity = latent_kind(channels, decoder == nullptr   ? "encoder"
                                                    : encoder == nullptr ? "decoder"
                                                                         : "");
      identity.family = "taesd";
      return identity;
    }
  }
  for (const std::string prefix : {"first_stage_model.", ""}) {
    const auto* first = names.find(prefix + "decoder.conv_in.weight");
    if (first == nullptr) continue;
    if (names.has(prefix + "decoder.up.0.block.0.conv1.weight"))
      return latent_kind(Names::extent(first, 1), "ldm");
    if (names.has(prefix + "decoder.up_blocks.0.resnets.0.conv1.weight"))
      return latent_kind(Names::extent(first, 1), "diffusers");
  }
  return std::nullopt;
}

std::optional<FileIdentity> upscaler(const Names& names) {
  constexpr std::int64_t kPictureChannels = 3;
  if (names.first("RDB1.conv1", ".weight") != nullptr) {
    return refused(FileKind::upscaler, "rrdbnet", "older naming",
                   "it is an ESRGAN upscaler in the older naming (model.1.sub), which this version "
                   "does not read");
  }
  const weights::NameMap rows = rrdbnet::names(names.source());
  for (const weights::NameRow& row : rows) {
    if (row.canonical != "conv_first.weight" ||
        names.first("body.0.rdb1.conv1", ".weight") == nullptr)
      continue;
    const std::int64_t channels = Names::extent(names.find(row.file), 1);
    if (channels == kPictureChannels) return supported(FileKind::upscaler, "rrdbnet");
    return refused(FileKind::upscaler, "rrdbnet", "unshuffle",
                   fmt::format("it is an ESRGAN upscaler that takes an unshuffled picture ({} "
                               "channels), which this version does not run",
                               channels));
  }
  return std::nullopt;
}

using Question = std::optional<FileIdentity> (*)(const Names&);
/// First answer wins: adapters spell their base model's names, and a checkpoint holds parts that
/// also stand alone.
constexpr std::array<Question, 8> kQuestions = {adapter,     embedding, control,      unet_model,
                                                transformer, upscaler,  text_encoder, codec};

struct ClassName {
  std::string_view name;
  FileKind kind;
  std::string_view family;
  std::string_view variant;
};
/// diffusers' and transformers' classes, by model_index.json or config.json.
constexpr std::array kClasses = {
    ClassName{"StableDiffusionPipeline", FileKind::checkpoint, kSd15, "diffusers"},
    ClassName{"StableDiffusionImg2ImgPipeline", FileKind::checkpoint, kSd15, "diffusers"},
    ClassName{"StableDiffusionXLPipeline", FileKind::checkpoint, "sdxl", "diffusers"},
    ClassName{"StableDiffusionXLImg2ImgPipeline", FileKind::checkpoint, "sdxl-refiner",
              "diffusers"},
    ClassName{"StableDiffusion3Pipeline", FileKind::checkpoint, "sd3", "diffusers"},
    ClassName{"StableVideoDiffusionPipeline", FileKind::checkpoint, "svd", "diffusers"},
    ClassName{"FluxPipeline", FileKind::checkpoint, "flux", "diffusers"},
    ClassName{"FluxFillPipeline", FileKind::checkpoint, "flux", "fill"},
    ClassName{"FluxKontextPipeline", FileKind::checkpoint, "flux", "kontext"},
    ClassName{"ZImagePipeline", FileKind::checkpoint, "z-image", "diffusers"},
    ClassName{"QwenImagePipeline", FileKind::checkpoint, "qwen-image", "diffusers"},
    ClassName{"PixArtAlphaPipeline", FileKind::checkpoint, "pixart", "alpha"},
    ClassName{"PixArtSigmaPipeline", FileKind::checkpoint, "pixart", "sigma"},
    ClassName{"WanPipeline", FileKind::checkpoint, "wan", "diffusers"},
    ClassName{"UNet2DConditionModel", FileKind::denoiser, kSd15, "diffusers"},
    ClassName{"AutoencoderKL", FileKind::codec, "", "diffusers"},
    ClassName{"AutoencoderTiny", FileKind::codec, "taesd", "diffusers"},
};

}  // namespace

std::string_view to_string(FileKind kind) {
  switch (kind) {
    case FileKind::checkpoint:
      return "checkpoint";
    case FileKind::denoiser:
      return "denoiser";
    case FileKind::codec:
      return "codec";
    case FileKind::text_encoder:
      return "text encoder";
    case FileKind::upscaler:
      return "upscaler";
    case FileKind::embedding:
      return "embedding";
    case FileKind::adapter:
      return "adapter";
    case FileKind::control:
      return "control model";
    case FileKind::unknown:
      break;
  }
  return "unknown";
}

FileIdentity identify(const weights::Source& source) {
  const Names names(source);
  for (const Question question : kQuestions) {
    if (std::optional<FileIdentity> answer = question(names)) return *answer;
  }
  const auto& all = source.tensors();
  return refused(
      FileKind::unknown, "", "",
      all.empty()
          ? "it holds no tensors"
          : fmt::format(
                "its {} tensors belong to no model that is known here (the first is \"{}\" {})",
                all.size(), all[0].name.substr(0, 100), all[0].shape.to_string()));
}

FileIdentity identify_folder(const std::filesystem::path& folder) {
  const bool pipeline = std::filesystem::exists(folder / "model_index.json");
  const ConfigReader reader(read_text(folder / (pipeline ? "model_index.json" : "config.json")),
                            folder.string());
  const std::string name = reader.text("_class_name", "");
  const auto known = std::find_if(kClasses.begin(), kClasses.end(),
                                  [&](const ClassName& c) { return c.name == name; });
  if (known == kClasses.end()) {
    return refused(FileKind::unknown, "", name,
                   fmt::format("its class \"{}\" is not known here", name));
  }
  if (known->family != kSd15 || !pipeline) {
    return known->family == kSd15 || known->kind == FileKind::codec
               ? supported(known->kind, known->family, "diffusers")
               : other_family(known->kind, known->family, std::string(known->variant));
  }
  // Stable Diffusion 1 and 2 share a class; the denoiser's configuration tells them apart.
  const ConfigReader unet(read_text(folder / "unet/config.json"), "unet config.json");
  const std::string_view family =
      family_of_width(unet.counts("cross_attention_dim", {1280}).front());
  if (family != kSd15) return other_family(FileKind::checkpoint, family, "diffusers");
  const int channels = unet.count("in_channels", 4);
  if (const auto extra = extra_input(channels, unet.count("out_channels", 4))) {
    return refused(FileKind::checkpoint, kSd15, extra->first,
                   fmt::format("it is {}, which this version does not run", extra->second));
  }
  return supported(FileKind::checkpoint, kSd15, "diffusers");
}

void require_supported(const FileIdentity& identity, std::string_view file) {
  if (!identity.supported)
    fail(ErrorKind::unsupported, "\"{}\" cannot be used: {}", file, identity.reason);
}

}  // namespace velatura::models
