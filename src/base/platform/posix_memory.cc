#include <sys/mman.h>
#include <sys/resource.h>

#include "base/platform/memory.h"

namespace velatura::platform {

void* allocate_pages(std::size_t size) {
  void* block = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) return nullptr;
#ifdef MADV_HUGEPAGE
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  if (size >= 2 * kHugePage) ::madvise(block, size, MADV_HUGEPAGE);
#endif
  return block;
}

void free_pages(void* block, std::size_t size) {
  ::munmap(block, size);
}

std::size_t peak_resident_bytes() {
  struct rusage usage {};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return 0;
#ifdef __APPLE__
  return static_cast<std::size_t>(usage.ru_maxrss);
#else
  return static_cast<std::size_t>(usage.ru_maxrss) * 1024;  // Linux counts kilobytes
#endif
}

}  // namespace velatura::platform
