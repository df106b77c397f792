// The families of models whose adapters are known, as data: their parts, the names of their
// parameters in both namings, at full size or as a folder has them. Not here: running a model,
// which file is what (registry.h), the names themselves (each family's names.h).
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weights/name_map.h"
#include "weights/part.h"
#include "weights/source.h"

namespace velatura::models {

/// A part of a family that adapters change. Codecs are none.
struct PartRow {
  std::string_view component;  ///< as in reports: "unet", "transformer", "te", "te2", "t5"
  weights::Part part;
  std::string_view folder;     ///< in a diffusers model: "unet", "text_encoder_2"
  std::string_view manifest;   ///< the full-size list, in canonical names
  std::string_view signature;  ///< a parameter that every such part has
};

struct FamilyRow {
  std::string_view id;             ///< "sd15", "sdxl", "flux", "zimage"
  std::string_view title;          ///< "SD1.5", "SDXL", "FLUX.1", "Z-Image"
  std::string_view identity;       ///< FileIdentity::family of its denoiser
  std::span<const PartRow> parts;  ///< the denoiser first
};

/// The whole table. FLUX.1 is listed as dev; schnell is it without the guidance embedder.
std::span<const FamilyRow> families();
/// Null where there is none of that id.
const FamilyRow* find_family(std::string_view id);

/// How single files spell a part's parameters: LDM (UNets), BFL (FLUX.1), ComfyUI (Z-Image),
/// OpenCLIP (bigG); `file` names carry no prefix of a checkpoint. Made for these parameters, of any
/// depth and width: each has at most one row, and the rows of a fused matrix cover it without gap.
/// Empty for parts that have no other naming. Throws bad_file where the names contradict each
/// other.
weights::NameMap native_names(weights::Part part, std::span<const weights::TensorInfo> canonical);

/// A part with all its names.
struct PartShape {
  std::string component;
  weights::Part part = weights::Part::unet;
  std::vector<weights::TensorInfo> parameters;  ///< canonical, without buffers
  weights::NameMap native;                      ///< native_names() of them
  /// Holds `parameters` under their canonical names; null at full size.
  std::shared_ptr<const weights::Source> weights{};
};

struct FamilyShape {
  std::string id;
  std::string title;
  std::vector<PartShape> parts;  ///< the denoiser first
};

/// The published model's names, from the embedded manifests. Throws not_found.
FamilyShape full_size(std::string_view id);

/// A model on disk; only headers are read, weights stay mapped behind `weights`. A diffusers folder
/// (whole or sharded; text encoders it lacks are left out), the folder of a denoiser alone, or a
/// single file of SD1.5. Throws not_found, bad_file; unsupported naming the class or kind of what
/// belongs to no family.
FamilyShape of_model(const std::filesystem::path& path);

}  // namespace velatura::models
