// What follows from an adapter file's tensor names and shapes alone: family, algorithms, ranks,
// which kinds of layers and which blocks. For lists of thousands of files; the full account against
// a model's own names is bind's. Not here: the file's texts (metadata.h).
#pragma once

#include <filesystem>
#include <memory>

#include "lora/adapter_file.h"
#include "velatura/library.h"

namespace velatura::lora::library {

/// Opens `path` (no folder) reading a safetensors file's header alone, by plain reads: a file that
/// shrinks while it is looked at is an error, not a fault of a mapped page. Throws as
/// AdapterFile::open.
std::shared_ptr<const AdapterFile> open_header(const std::filesystem::path& path);

/// Fills family, algorithms, modules, tensors, parameters, ranks, targets, blocks, types; and
/// `problem` where the file holds no adapter.
void summarise(const AdapterFile& file, LibraryEntry& entry);

}  // namespace velatura::lora::library
