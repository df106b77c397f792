// Which model a file is, from the names and shapes of its tensors: what we run, and what we know by
// name and refuse. Not here: an adapter's algorithm and dialect (lora/), running anything.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "weights/source.h"

namespace velatura::models {

enum class FileKind {
  checkpoint,  ///< a whole model: denoiser, codec, text encoder
  denoiser,    ///< a UNet or transformer alone
  codec,       ///< a picture codec (KL or tiny)
  text_encoder,
  upscaler,
  embedding,  ///< textual inversion
  adapter,    ///< LoRA and its relatives
  control,    ///< ControlNet, IP-Adapter and their like
  unknown,
};
std::string_view to_string(FileKind kind);

struct FileIdentity {
  FileKind kind = FileKind::unknown;
  /// "sd15", "sd2", "sdxl", "sdxl-refiner", "flux", "z-image" …; "taesd", "rrdbnet" of parts that
  /// belong to no single family; empty where the tensors do not tell.
  std::string family;
  std::string variant;  ///< "ldm", "diffusers", "decoder", "inpainting" …; may be empty
  bool supported = false;
  std::string reason;  ///< why not supported, a whole sentence with the family's full name; empty
                       ///< when it is
};

/// Never throws for content: what is not recognised is `unknown`, with what was seen in `reason`.
FileIdentity identify(const weights::Source& source);

/// The same for a diffusers folder, by its model_index.json, or for a part's folder, by its
/// config.json. Throws not_found where the folder has neither.
FileIdentity identify_folder(const std::filesystem::path& folder);

/// Throws unsupported with the reason, naming `file`, unless supported.
void require_supported(const FileIdentity& identity, std::string_view file);

}  // namespace velatura::models
