// What was read of one adapter file as bytes, for the index. The format is ours alone and changes
// with kRecordVersion. Not here: where records are kept (index.h).
#pragma once

#include <string>
#include <string_view>

#include "velatura/library.h"

namespace velatura::lora::library {

/// Raise it when a field is added or when the same file would give another record.
inline constexpr int kRecordVersion = 2;

/// All that the file and the notes beside it say: not its name, place, size, time and hashes.
std::string encode_record(const LibraryEntry& entry);

/// False where `bytes` are no record of this version; `entry` is then half filled. Never reads
/// beyond `bytes`, whatever they are.
bool decode_record(std::string_view bytes, LibraryEntry& entry);

}  // namespace velatura::lora::library
