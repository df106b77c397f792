// A model spread over several files by an index (`*.safetensors.index.json`,
// `pytorch_model.bin.index.json` of transformers and diffusers): {"metadata": …, "weight_map":
// {tensor: file}}.
#pragma once

#include <filesystem>
#include <memory>

#include "weights/source.h"

namespace velatura::weights {

/// True for a path that ends in ".index.json".
bool is_shard_index(const std::filesystem::path& path);

/// Opens every shard that the index names. A shard lies beside its index: a name with a folder in
/// it is refused. Throws bad_file when a shard lacks a tensor the index promises, or holds one
/// twice; not_found for a missing shard.
std::shared_ptr<const Source> open_sharded(const std::filesystem::path& path);

}  // namespace velatura::weights
