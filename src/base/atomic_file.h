// Files that appear whole or not at all. Bytes go to a temporary file in the same folder, reach the
// disk, and only then get the name; whatever goes wrong, the temporary file is gone and an existing
// target untouched. Not here: formats, names of pictures.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace velatura {

/// Writes `bytes` as `target`, replacing an existing file of that name in one step (its permissions
/// stay). A symbolic link keeps pointing; what it points at is replaced. A target that exists and
/// is no regular file (a device, a pipe) is written to directly. The folder must exist. Throws io
/// (disk full, permission; names the path and the reason) or not_found (no such folder).
/// Thread-safe; two writers of one target leave one of the two contents.
void write_file_atomically(const std::filesystem::path& target, std::span<const std::byte> bytes);

/// Writes `bytes` as a new file in `folder` whose name is `pattern` with "{number}" replaced by the
/// first free number from 1, and returns its path. A number is free when no entry of the folder
/// begins like the pattern up to the character after the number: for "{number}-7.png" the entry
/// "3-9.png" takes 3. Nothing is ever overwritten, however many processes write at once.
/// Throws as write_file_atomically.
std::filesystem::path write_numbered_file(const std::filesystem::path& folder,
                                          std::string_view pattern,
                                          std::span<const std::byte> bytes);

}  // namespace velatura
