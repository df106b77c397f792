// Where models, adapters, embeddings, upscalers and codecs live, and how a name finds its file.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace velatura::engine {

enum class AssetKind { checkpoint, lora, embedding, upscaler, vae };

/// Search order: $VELATURA_HOME (default $XDG_DATA_HOME/velatura, ~/.local/share/velatura), each
/// given folder, the demonstration model's. Under each: our folder names and those of other
/// programs (models/loras, Lora, models/Stable-diffusion …), recursively; a folder that has none of
/// them is searched itself.
class Roots {
 public:
  explicit Roots(std::vector<std::filesystem::path> model_dirs);

  /// An existing path as it is; else the name's file: path relative to a kind's folder, with or
  /// without extension, or stem in any subfolder, the first in search order. Throws not_found with
  /// the three nearest names, invalid_argument where several subfolders of one folder have it.
  std::filesystem::path resolve(AssetKind kind, const std::string& name) const;
  /// Every file of the kind, in search order, sorted within a folder.
  std::vector<std::filesystem::path> list(AssetKind kind) const;
  /// Folders that exist for the kind.
  std::vector<std::filesystem::path> folders(AssetKind kind) const;
  /// The demonstration model's folder: beside the executable under share/velatura, else where it
  /// was built from.
  static std::optional<std::filesystem::path> demo();

 private:
  std::vector<std::filesystem::path> roots_;
};

}  // namespace velatura::engine
