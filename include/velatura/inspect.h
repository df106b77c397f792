// What a file is: checkpoint, part, adapter, embedding, upscaler, picture.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace velatura {

struct Inspection {
  std::string text;  ///< for people
  std::string json;  ///< one document: path, kind, family, supported, reason, metadata, tensors
                     ///< [{name, dtype, shape}]
};

/// Reads headers only; a picture's text chunks are read back. Throws not_found / bad_file.
Inspection inspect(const std::filesystem::path& path);

/// What this machine offers and what Velatura will use: CPU features, precision, threads, model
/// roots, the demo model.
Inspection doctor(const std::vector<std::filesystem::path>& model_dirs);

}  // namespace velatura
