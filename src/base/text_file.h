// Reading a small text file whole: configurations, indexes, lists. Not here: what the text means;
// large files (mapped_file.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace velatura {

/// The bytes of `path`. Throws not_found / io, bad_file when it is larger than `most` bytes.
std::string read_text(const std::filesystem::path& path, std::uint64_t most = 64U << 20);

/// Whether `path` is a file, or a link to one; never throws.
bool is_file(const std::filesystem::path& path);

}  // namespace velatura
