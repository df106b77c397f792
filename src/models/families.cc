#include "models/families.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/text_file.h"
#include "models/clip/names.h"
#include "models/config_reader.h"
#include "models/flux/names.h"
#include "models/ldm_checkpoint.h"
#include "models/manifest.h"
#include "models/registry.h"
#include "models/unet/names.h"
#include "models/z_image/names.h"
#include "weights/part_files.h"

namespace velatura::models {

namespace fs = std::filesystem;
using weights::Part;

namespace {

constexpr std::string_view kUNetSignature = "down_blocks.0.resnets.0.conv1.weight";
constexpr std::string_view kClipSignature = "text_model.encoder.layers.0.self_attn.q_proj.weight";

constexpr PartRow kClipL = {"te", Part::clip_l, "text_encoder", "clip_l", kClipSignature};
constexpr std::array kSd15Parts = {
    PartRow{"unet", Part::unet, "unet", "sd15.unet.diffusers", kUNetSignature}, kClipL};
constexpr std::array kSdxlParts = {
    PartRow{"unet", Part::unet, "unet", "sdxl.unet.diffusers", kUNetSignature}, kClipL,
    PartRow{"te2", Part::clip_g, "text_encoder_2", "clip_g", kClipSignature}};
constexpr std::array kFluxParts = {
    PartRow{"transformer", Part::flux, "transformer", "flux_dev.transformer.diffusers",
            "single_transformer_blocks.0.proj_mlp.weight"},
    kClipL,
    PartRow{"t5", Part::t5, "text_encoder_2", "t5xxl",
            "encoder.block.0.layer.0.SelfAttention.q.weight"}};
constexpr std::array kZImageParts = {
    PartRow{"transformer", Part::z_image, "transformer", "zimage.transformer.diffusers",
            "noise_refiner.0.attention.to_q.weight"},
    PartRow{"te", Part::qwen3, "text_encoder", "qwen3_4b",
            "model.layers.0.self_attn.q_proj.weight"}};

constexpr std::array kTable = {FamilyRow{"sd15", "SD1.5", "sd15", kSd15Parts},
                               FamilyRow{"sdxl", "SDXL", "sdxl", kSdxlParts},
                               FamilyRow{"flux", "FLUX.1", "flux", kFluxParts},
                               FamilyRow{"zimage", "Z-Image", "z-image", kZImageParts}};

/// What is saved beside parameters and can be computed, or is another parameter again.
bool is_buffer(std::string_view name) {
  return name.ends_with("position_ids") || name == "encoder.embed_tokens.weight" ||
         name == "logit_scale";
}

std::vector<weights::TensorInfo> parameters_of(const weights::Source& source) {
  std::vector<weights::TensorInfo> parameters = source.tensors();
  std::erase_if(parameters, [](const weights::TensorInfo& info) { return is_buffer(info.name); });
  return parameters;
}

PartShape part_shape(const PartRow& row, std::vector<weights::TensorInfo> parameters,
                     std::shared_ptr<const weights::Source> weights) {
  weights::NameMap native = native_names(row.part, parameters);
  return {.component = std::string(row.component),
          .part = row.part,
          .parameters = std::move(parameters),
          .native = std::move(native),
          .weights = std::move(weights)};
}

FamilyShape without_parts(const FamilyRow& row) {
  return {.id = std::string(row.id), .title = std::string(row.title), .parts = {}};
}

/// diffusers' class of a model's or a part's folder; empty where nothing names one.
std::string class_name(const fs::path& folder) {
  for (const char* name : {"model_index.json", "config.json"}) {
    if (is_file(folder / name)) {
      return ConfigReader(read_text(folder / name), (folder / name).string())
          .text("_class_name", "");
    }
  }
  return "";
}

/// The denoiser's folder: the model's own part, or `model` itself.
fs::path denoiser_folder(const fs::path& model) {
  for (const char* part : {"unet", "transformer"}) {
    std::error_code ignored;
    if (fs::is_directory(model / part, ignored)) return model / part;
  }
  if (is_file(model / "config.json")) return model;
  const std::string name = class_name(model);
  fail(ErrorKind::not_found,
       "\"{}\"{} has no denoiser; a diffusers folder with unet or transformer is expected",
       model.string(), name.empty() ? "" : fmt::format(" (a {})", name));
}

std::string titles() {
  std::string list;
  for (const FamilyRow& row : kTable) list += (list.empty() ? "" : ", ") + std::string(row.title);
  return list;
}

/// By the denoiser's names; the class is what the message says.
const FamilyRow& family_of(const weights::Source& denoiser, const fs::path& model) {
  const FileIdentity identity = identify(denoiser);
  for (const FamilyRow& row : kTable) {
    if (row.identity == identity.family && denoiser.find(row.parts.front().signature) != nullptr)
      return row;
  }
  std::string name = class_name(model);
  if (name.empty()) name = "model of no known class";
  fail(ErrorKind::unsupported, "\"{}\" is a {}{}; adapters are known for {}", model.string(), name,
       identity.family.empty() ? "" : fmt::format(" ({})", identity.family), titles());
}

FamilyShape of_folder(const fs::path& model) {
  const fs::path folder = denoiser_folder(model);
  const auto denoiser = weights::open_source(weights::find_part_weights(folder));
  const FamilyRow& family = family_of(*denoiser, model);
  FamilyShape shape = without_parts(family);
  for (const PartRow& row : family.parts) {
    const bool first = &row == family.parts.data();
    std::error_code ignored;
    if (!first && (folder == model || !fs::is_directory(model / row.folder, ignored))) continue;
    const auto source =
        first ? denoiser : weights::open_source(weights::find_part_weights(model / row.folder));
    if (source->find(row.signature) == nullptr) {
      fail(ErrorKind::unsupported, "\"{}\" is no {} as {} has it: it lacks \"{}\"",
           source->description(), row.folder, family.title, row.signature);
    }
    shape.parts.push_back(part_shape(row, parameters_of(*source), source));
  }
  return shape;
}

FamilyShape of_file(const fs::path& path) {
  const auto file = weights::open_source(path);
  const FileIdentity identity = identify(*file);
  const FamilyRow& family = *find_family("sd15");
  if (identity.kind != FileKind::checkpoint || identity.family != family.identity) {
    fail(ErrorKind::unsupported,
         "\"{}\" is a file of kind {}{}; a diffusers folder is expected, or a checkpoint of {}",
         path.string(), to_string(identity.kind),
         identity.family.empty() ? "" : fmt::format(" ({})", identity.family), family.title);
  }
  const LdmCheckpoint checkpoint = open_ldm(file, detect_ldm(*file));
  FamilyShape shape = without_parts(family);
  const std::array sources = {checkpoint.unet, checkpoint.text_encoder};
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (sources[i] == nullptr) continue;
    shape.parts.push_back(part_shape(family.parts[i], parameters_of(*sources[i]), sources[i]));
  }
  return shape;
}

}  // namespace

std::span<const FamilyRow> families() {
  return kTable;
}

const FamilyRow* find_family(std::string_view id) {
  const auto found = std::ranges::find(kTable, id, &FamilyRow::id);
  return found == kTable.end() ? nullptr : &*found;
}

weights::NameMap native_names(Part part, std::span<const weights::TensorInfo> canonical) {
  switch (part) {
    case Part::unet:
      return unet::native_names(canonical);
    case Part::flux:
      return flux::native_names(canonical);
    case Part::z_image:
      return z_image::native_names(canonical);
    case Part::clip_g:
      return clip::openclip_names(canonical);
    case Part::clip_l:
    case Part::t5:
    case Part::qwen3:
      break;
  }
  return {};
}

FamilyShape full_size(std::string_view id) {
  const FamilyRow* family = find_family(id);
  if (family == nullptr)
    fail(ErrorKind::not_found, "there is no family \"{}\"; there are {}", id, titles());
  FamilyShape shape = without_parts(*family);
  for (const PartRow& row : family->parts)
    shape.parts.push_back(part_shape(row, manifest(row.manifest), nullptr));
  return shape;
}

FamilyShape of_model(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored) ? of_folder(path) : of_file(path);
}

}  // namespace velatura::models
