#include <sys/stat.h>

#include "base/platform/file_stamp.h"

namespace velatura::platform {

std::optional<FileStamp> stamp_of(const std::filesystem::path& path) {
  return stamp_of(path.c_str());
}

std::optional<FileStamp> stamp_of(const char* path) {
  struct stat info {};
  if (::stat(path, &info) != 0) return std::nullopt;
  FileStamp stamp;
  if (S_ISREG(info.st_mode)) stamp.kind = FileStamp::Kind::file;
  if (S_ISDIR(info.st_mode)) stamp.kind = FileStamp::Kind::folder;
  stamp.bytes = static_cast<std::uint64_t>(info.st_size);
  constexpr std::int64_t kNanoseconds = 1'000'000'000;
  stamp.changed = static_cast<std::int64_t>(info.st_mtim.tv_sec) * kNanoseconds +
                  static_cast<std::int64_t>(info.st_mtim.tv_nsec);
  stamp.device = static_cast<std::uint64_t>(info.st_dev);
  stamp.inode = static_cast<std::uint64_t>(info.st_ino);
  return stamp;
}

}  // namespace velatura::platform
