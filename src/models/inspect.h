// What `velatura inspect` says about a weight file, as data. Not here: how it is printed (engine).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "models/registry.h"

namespace velatura::models {

struct Description {
  std::string path;
  FileIdentity identity;
  std::uint64_t file_bytes = 0;  ///< on disk; 0 for a list of shards
  std::uint64_t tensor_bytes = 0;
  std::vector<weights::TensorInfo> tensors;    ///< in the file's order
  std::map<std::string, std::uint64_t> types;  ///< element type → tensors of it
  std::map<std::string, std::string> metadata;
  /// Tensors that a model of this kind does not use: schedule buffers, position_ids, averaged
  /// copies.
  std::vector<std::string> known_unused;
};

/// Opens the header of `path` (a file, or an index of shards). Throws not_found, bad_file and
/// unsupported as open_source does; what it cannot identify is no error.
Description describe(const std::filesystem::path& path);
Description describe(const weights::Source& source);

}  // namespace velatura::models
