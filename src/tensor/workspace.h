// The memory of a job: activations come from here and return when their last handle goes.
#pragma once

#include <cstddef>
#include <memory>

#include "tensor/tensor.h"

namespace velatura {

/// A pool of blocks reused by size, so that the second step of a job allocates nothing.
/// Thread-safe. Blocks outlive the workspace while a tensor holds them.
class Workspace {
 public:
  Workspace();
  /// Uninitialised memory, 64-byte aligned. Throws out_of_memory.
  Tensor allocate(const Shape& shape, DType type);
  /// Frees every block that no tensor holds.
  void trim();
  std::size_t bytes_held() const;  ///< in use and pooled together

 private:
  struct Pool;
  std::shared_ptr<Pool> pool_;
};

}  // namespace velatura
