// Writing safetensors files. Not here: reading (safetensors.h).
#pragma once

#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "tensor/tensor.h"
#include "weights/source.h"

namespace velatura::weights {

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

/// The file's bytes up to the tensors: length and header, padded so that the data is aligned to 8
/// bytes. Tensors lie in the order given, which should have wide elements first where readers map
/// them in place. Throws invalid_argument on repeated or empty names.
std::vector<std::byte> safetensors_header(std::span<const NamedTensor> tensors,
                                          const std::map<std::string, std::string>& metadata);

/// The same of tensors whose bytes come later, or never: a file of holes has a real header.
std::vector<std::byte> safetensors_header(std::span<const TensorInfo> tensors,
                                          const std::map<std::string, std::string>& metadata);

/// Writes the whole file beside `path`, syncs it and renames it: a full disk or a crash leaves the
/// old file or none. Throws io, not_found, invalid_argument.
void write_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace velatura::weights
