// The POSIX side of MappedFile. What is tied to an operating system lives in this folder alone.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <functional>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/platform/mapped_files.h"

namespace velatura {

namespace {

/// One mapping. A signal handler reads the table while others write it: no lock, and `path` is set
/// only while the range is right.
struct Mapping {
  std::atomic<const std::byte*> begin = nullptr;  ///< null: the row is free
  std::atomic<std::size_t> size = 0;
  std::atomic<const char*> path = nullptr;
};
static_assert(std::atomic<std::size_t>::is_always_lock_free);
static_assert(std::atomic<const char*>::is_always_lock_free);

std::array<Mapping, 1024>& mappings() {
  static constinit std::array<Mapping, 1024> table;
  return table;
}

void remember(std::span<const std::byte> bytes, const char* path) {
  for (Mapping& row : mappings()) {
    const std::byte* free = nullptr;
    if (!row.begin.compare_exchange_strong(free, bytes.data())) continue;
    row.size = bytes.size();
    row.path = path;
    return;
  }
}

void forget(const std::byte* begin) {
  for (Mapping& row : mappings()) {
    if (row.begin != begin) continue;
    row.path = nullptr;
    row.begin = nullptr;
    return;
  }
}

}  // namespace

const char* platform::mapped_file_at(const void* address) noexcept {
  const auto* at = static_cast<const std::byte*>(address);
  for (const Mapping& row : mappings()) {
    const char* path = row.path;
    const std::byte* begin = row.begin;
    if (path != nullptr && !std::less<>()(at, begin) && std::less<>()(at, begin + row.size))
      return path;
  }
  return nullptr;
}

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  // Not blocking: opening a pipe would wait for its writer; it is refused below.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) {
    const int code = errno;
    fail(code == ENOENT ? ErrorKind::not_found : ErrorKind::io, "cannot open \"{}\": {}",
         path.string(), std::strerror(code));
  }
  struct stat info {};
  if (::fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(descriptor);
    fail(ErrorKind::bad_file, "\"{}\" is not a regular file", path.string());
  }
  const auto size = static_cast<std::size_t>(info.st_size);
  void* data = nullptr;
  if (size > 0) {
    data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (data == MAP_FAILED) {
      const int code = errno;
      ::close(descriptor);
      fail(ErrorKind::io, "cannot map \"{}\": {}", path.string(), std::strerror(code));
    }
  }
  ::close(descriptor);
  std::shared_ptr<const MappedFile> file(
      new MappedFile(path, static_cast<const std::byte*>(data), size));
  if (size > 0) remember(file->bytes(), file->path_.c_str());
  return file;
}

MappedFile::~MappedFile() {
  if (size_ == 0) return;
  forget(data_);
  ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::release(std::size_t offset, std::size_t length) const {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  if (offset >= size_) return;
  if (length > size_ - offset) length = size_ - offset;
  const std::size_t begin = (offset + page - 1) / page * page;
  const std::size_t end = (offset + length) / page * page;
  // Only whole pages inside the range: a neighbour's bytes stay resident.
  if (end > begin) ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
}

}  // namespace velatura
