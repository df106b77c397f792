// Names and shapes of a file's tensors, read from a list instead of the file: JSON or text,
// whatever the extension says, gzipped or not. What a list leaves out (shapes, ranks) is made up to
// fit.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/lora_keys/full_size.h"
#include "weights/source.h"

namespace velatura::testing {

struct KeyList {
  struct Key {
    std::string name;
    std::optional<std::vector<std::int64_t>> shape;  ///< -1: a rank that the list leaves open
  };
  std::vector<Key> keys;
  std::map<std::string, std::string> metadata;
};

/// Throws what the JSON reader throws.
KeyList read_key_list(const std::filesystem::path& path);

/// Tensors of these names and shapes in f16, all ones, without memory of their own. `model` says
/// what shapes the list's modules have where the list does not; null leaves such tensors without
/// axes.
std::shared_ptr<const weights::Source> source_of(const KeyList& list, const FullSize* model);

}  // namespace velatura::testing
