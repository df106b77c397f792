#include "tensor/workspace.h"

#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>

#include "base/error.h"
#include "base/platform/memory.h"

namespace velatura {

struct Workspace::Pool {
  std::mutex mutex;
  std::multimap<std::size_t, void*> free_blocks;
  std::size_t held = 0;

  ~Pool() { release_free(); }
  void release_free() {
    for (auto& [size, block] : free_blocks) {
      platform::free_pages(block, size);
      held -= size;
    }
    free_blocks.clear();
  }
};

Workspace::Workspace() : pool_(std::make_shared<Pool>()) {}

Tensor Workspace::allocate(const Shape& shape, DType type) {
  constexpr std::size_t kGrain = 4096;
  std::size_t wanted = 0;
  if (__builtin_mul_overflow(static_cast<std::size_t>(shape.count()), size_of(type), &wanted) ||
      wanted > SIZE_MAX - kGrain) {
    fail(ErrorKind::out_of_memory, "an activation of shape {} does not fit in memory",
         shape.to_string());
  }
  const std::size_t size = (wanted + kGrain) / kGrain * kGrain;
  void* block = nullptr;
  std::size_t block_size = size;
  {
    const std::scoped_lock lock(pool_->mutex);
    // A block up to a quarter larger is worth reusing; beyond that memory would hide in big blocks.
    const auto found = pool_->free_blocks.lower_bound(size);
    if (found != pool_->free_blocks.end() && found->first <= size + size / 4) {
      block = found->second;
      block_size = found->first;
      pool_->free_blocks.erase(found);
    } else {
      block = platform::allocate_pages(size);
      if (block == nullptr) {
        pool_->release_free();
        block = platform::allocate_pages(size);
      }
      if (block == nullptr) {
        fail(ErrorKind::out_of_memory, "cannot allocate {} bytes for an activation of shape {}",
             size, shape.to_string());
      }
      pool_->held += size;
    }
  }
  std::shared_ptr<void> owner(block, [pool = pool_, block_size](void* p) {
    const std::scoped_lock lock(pool->mutex);
    pool->free_blocks.emplace(block_size, p);
  });
  return Tensor({std::move(owner), static_cast<std::byte*>(block), block_size}, shape, type);
}

void Workspace::trim() {
  const std::scoped_lock lock(pool_->mutex);
  pool_->release_free();
}

std::size_t Workspace::bytes_held() const {
  const std::scoped_lock lock(pool_->mutex);
  return pool_->held;
}

}  // namespace velatura
