// Large blocks straight from the operating system.
#pragma once

#include <cstddef>

namespace velatura::platform {

/// Zeroed on first touch, page-aligned, on huge pages where the system has them (fewer TLB misses
/// in products). nullptr when the system refuses.
void* allocate_pages(std::size_t size);
void free_pages(void* block, std::size_t size);

/// Most bytes this process has had resident, file pages included; 0 where the system does not tell.
std::size_t peak_resident_bytes();

}  // namespace velatura::platform
