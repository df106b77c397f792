#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>

#include "base/error.h"
#include "base/platform/new_file.h"

namespace velatura::platform {
namespace {

constexpr mode_t kReadableByAll = 0666;  // the process' umask takes its share away

/// 0, or the errno of the write that failed.
int write_whole(int descriptor, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    // Some systems refuse single writes of 2 GB and more.
    const ssize_t written =
        ::write(descriptor, bytes.data(), std::min(bytes.size(), std::size_t{1} << 30));
    if (written < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return 0;
}

/// A name that no other writer of this or another process uses.
std::string unique_suffix() {
  static std::atomic<unsigned> counter = 0;
  return fmt::format(".{}-{}.tmp", ::getpid(), counter.fetch_add(1));
}

std::filesystem::path folder_of(const std::filesystem::path& file) {
  return file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
}

/// Makes a new name itself durable. Best effort: some file systems cannot, and the file is whole.
void sync_folder(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

[[noreturn]] void fail_to_write(const std::filesystem::path& target, int code, const char* doing) {
  const ErrorKind kind = code == ENOENT || code == ENOTDIR ? ErrorKind::not_found : ErrorKind::io;
  fail(kind, "cannot write \"{}\": {}: {}; nothing was left behind", target.string(), doing,
       std::strerror(code));
}

}  // namespace

NewFile::NewFile(const std::filesystem::path& target) : target_(target) {
  // The name is cut: it must stay below the file systems' 255 bytes with what is added.
  const std::string name = target.filename().string().substr(0, 200);
  for (int attempt = 0; descriptor_ < 0; ++attempt) {
    temporary_ = folder_of(target) / ("." + name + unique_suffix());
    descriptor_ =
        ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kReadableByAll);
    // A process that had our number may have died and left its file; take the next name.
    if (descriptor_ < 0 && (errno != EEXIST || attempt == 100))
      fail_with(errno, "creating a file in its folder");
  }
}

NewFile::~NewFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void NewFile::write(std::span<const std::byte> bytes) {
  VELATURA_CHECK(descriptor_ >= 0);
  if (const int code = write_whole(descriptor_, bytes); code != 0) fail_with(code, "writing");
}

void NewFile::finish_writing() {
  if (descriptor_ < 0) return;  // take_name is tried with one name after the other
  const int synced = ::fsync(descriptor_);
  // EINVAL: the file system cannot sync (some network and memory ones); close reports what it
  // knows.
  if (synced != 0 && errno != EINVAL) fail_with(errno, "writing");
  const int closed = ::close(descriptor_);
  descriptor_ = -1;
  if (closed != 0) fail_with(errno, "writing");
}

void NewFile::replace_target() {
  struct stat existing {};
  // Best effort: a file of somebody else's is replaced with our permissions.
  if (descriptor_ >= 0 && ::stat(target_.c_str(), &existing) == 0) {
    static_cast<void>(::fchmod(descriptor_, existing.st_mode & 07777));
  }
  finish_writing();
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) fail_with(errno, "renaming");
  temporary_.clear();
  sync_folder(folder_of(target_));
}

bool NewFile::take_name(const std::filesystem::path& name) {
  finish_writing();
  if (::link(temporary_.c_str(), name.c_str()) != 0) {
    if (errno == EEXIST) return false;
    if (errno != EPERM && errno != ENOTSUP && errno != ENOSYS && errno != EMLINK)
      fail_with(errno, "naming");
    // A file system without links (FAT): reserve the name, then move over the reservation.
    const int reserved =
        ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kReadableByAll);
    if (reserved < 0) {
      if (errno == EEXIST) return false;
      fail_with(errno, "naming");
    }
    ::close(reserved);
    if (::rename(temporary_.c_str(), name.c_str()) != 0) {
      const int code = errno;
      ::unlink(name.c_str());
      fail_with(code, "naming");
    }
    temporary_.clear();
  } else {
    ::unlink(temporary_.c_str());
    temporary_.clear();
  }
  sync_folder(folder_of(name));
  return true;
}

void NewFile::fail_with(int code, const char* doing) const {
  fail_to_write(target_, code, doing);
}

void write_to_device(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) fail_to_write(path, errno, "opening");
  int code = write_whole(descriptor, bytes);
  if (::close(descriptor) != 0 && code == 0) code = errno;
  if (code != 0) {
    fail(ErrorKind::io, "cannot write to \"{}\": {}", path.string(), std::strerror(code));
  }
}

}  // namespace velatura::platform
