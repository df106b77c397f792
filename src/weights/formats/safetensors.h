// Reading the safetensors format: 8 bytes of header length, a JSON header, the tensors' bytes.
// Policy after the reference library (huggingface/safetensors): tensors lie back to back without
// holes or overlaps and fill the file. Not here: writing (writer.h), several files with an index
// (sharded.h).
#pragma once

#include <cstdint>
#include <memory>

#include "weights/blob.h"
#include "weights/source.h"

namespace velatura::weights {

/// True when the first bytes can only be a safetensors header (a plausible length, then '{').
bool looks_like_safetensors(const Blob& blob);

/// Validates the whole header. Throws bad_file naming file, tensor and offset; unsupported for an
/// element type that the engine does not know.
std::shared_ptr<const Source> open_safetensors(const Blob& blob);

/// Names, types, shapes and metadata of a file of `file_bytes` bytes whose beginning, header
/// included, is `head`; validated as above. For those who look at thousands of files and want no
/// tensor: load() throws bad_file.
std::shared_ptr<const Source> open_safetensors_header(const Blob& head, std::uint64_t file_bytes);

}  // namespace velatura::weights
