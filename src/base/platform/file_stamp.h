// What the system knows of a path without opening it. Not here: contents.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace velatura::platform {

struct FileStamp {
  enum class Kind { file, folder, other };
  Kind kind = Kind::other;
  std::uint64_t bytes = 0;
  std::int64_t changed = 0;             ///< of the content, nanoseconds since 1970
  std::uint64_t device = 0, inode = 0;  ///< the same pair: the same file
};

/// Of what `path` leads to, links followed; nullopt where nothing is there or it may not be asked.
std::optional<FileStamp> stamp_of(const std::filesystem::path& path);
/// The same in the system's own spelling: making a path of a text takes as long as the question.
std::optional<FileStamp> stamp_of(const char* path);

}  // namespace velatura::platform
