// Weights in the type a product computes with, and the memory such forms live in.
#pragma once

#include <cstddef>

#include "ops/weight.h"
#include "tensor/tensor.h"

namespace velatura::backend::cpu {

/// A block straight from the operating system, on huge pages where they exist. Throws
/// out_of_memory.
class Pages {
 public:
  explicit Pages(std::size_t size);
  ~Pages();
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  void* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  void* data_;
  std::size_t size_;
};

/// The values in `type` (f32 or bf16), converted in parallel: `values` itself where nothing
/// changes.
Tensor in_type(const Tensor& values, DType type);

/// The weight in `type` in its own layout; a converted copy is kept as a form of the weight.
const std::byte* plain_weight(const ops::Weight& weight, DType type);

}  // namespace velatura::backend::cpu
