// A file under construction, as the operating system sees it.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace velatura::platform {

/// A temporary file beside its target, removed by the destructor unless it got its name. Errors
/// throw io or not_found and name the target. Not thread-safe; several may exist for one target.
class NewFile {
 public:
  /// Creates "<folder>/.<target's name>.<unique>.tmp" for writing.
  explicit NewFile(const std::filesystem::path& target);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write(std::span<const std::byte> bytes);

  /// Bytes on the disk, then the target's name, replacing a file that has it. Keeps that file's
  /// permissions.
  void replace_target();

  /// Bytes on the disk, then `name`, unless something has it: then false, and another may be tried.
  bool take_name(const std::filesystem::path& name);

 private:
  void finish_writing();
  [[noreturn]] void fail_with(int code, const char* doing) const;

  std::filesystem::path target_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
};

/// Writes to what exists under `path` and is no regular file. Throws io.
void write_to_device(const std::filesystem::path& path, std::span<const std::byte> bytes);

}  // namespace velatura::platform
