#include "lora/tools/spelling.h"

#include <algorithm>
#include <array>
#include <string>

#include "lora/dialects/dialect.h"

namespace velatura::lora::tools {

namespace {

/// Longest first among those that begin alike.
constexpr auto kPrefixes = std::to_array<std::string_view>({"lora_unet_unet_",
                                                            "lora_unet__",
                                                            "lora_unet_",
                                                            "lora_transformer_",
                                                            "lora_te1_",
                                                            "lora_te2_",
                                                            "lora_te3_",
                                                            "lora_te_",
                                                            "lycoris_",
                                                            "oft_unet_",
                                                            "transformer.base_model.model.",
                                                            "unet.base_model.model.",
                                                            "base_model.model.transformer.",
                                                            "base_model.model.unet.",
                                                            "base_model.model.",
                                                            "transformer.diffusion_model.",
                                                            "model.diffusion_model.",
                                                            "diffusion_model.",
                                                            "transformer.",
                                                            "unet.",
                                                            "text_encoders.",
                                                            "text_encoder_2.",
                                                            "text_encoder.",
                                                            "clip_l.",
                                                            "clip_g.",
                                                            "t5.",
                                                            "unet:",
                                                            "text_encoder:"});

/// The single file's names of the module's layers; empty where they are called alike.
std::string native_path(const ModuleView& module) {
  const ModuleShape& shape =
      module.component
          ->modules[static_cast<std::size_t>(module.placement->pieces.front().target.layer)];
  const auto row = std::ranges::find(module.component->native, shape.weight_name(),
                                     &weights::NameRow::canonical);
  if (row == module.component->native.end()) return {};
  constexpr std::string_view kEnd = ".weight";
  std::string_view path = row->file;
  if (path.ends_with(kEnd)) path.remove_suffix(kEnd.size());
  return std::string(path);
}

}  // namespace

Spelling spelling_of(const ModuleView& module) {
  const std::string_view name = module.name;
  const auto prefix =
      std::ranges::find_if(kPrefixes, [&](std::string_view p) { return name.starts_with(p); });
  Spelling spelling;
  if (prefix != kPrefixes.end()) spelling.prefix = *prefix;
  if (module.placement == nullptr || module.component == nullptr) return spelling;
  const std::string_view rest = name.substr(spelling.prefix.size());
  const auto is = [&](const std::string& path) { return rest == path || rest == flatten(path); };
  const std::string native = native_path(module);
  spelling.is_canonical = module.placement->is_plain() && is(module.placement->path);
  spelling.is_native = native.empty() ? spelling.is_canonical : is(native);
  return spelling;
}

}  // namespace velatura::lora::tools
