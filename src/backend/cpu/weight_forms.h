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

/// Scratch memory of the calling thread: valid until its next call, grown to the largest size it
/// asked for.
void* thread_scratch(std::size_t size);

/// The values in `type` (f32 or bf16), converted in parallel: `values` itself where nothing
/// changes.
Tensor in_type(const Tensor& values, DType type);

/// Rows of a matrix in another type, a few at a time: for packing without a second copy of the
/// whole. Made outside a parallel region, used by its threads.
class WidenedRows {
 public:
  /// `row_length` values a row, at most `most_rows` rows a call.
  WidenedRows(const Tensor& matrix, DType type, std::int64_t most_rows, std::int64_t row_length);
  /// Valid until the same thread's next call.
  const std::byte* at(std::int64_t first_row, std::int64_t rows) const;

 private:
  Tensor source_;
  DType type_;
  std::int64_t row_length_;
  std::int64_t staged_bytes_;
  Pages staged_;
};

/// The weight in `type` in its own layout; a converted copy is kept as a form of the weight.
const std::byte* plain_weight(const ops::Weight& weight, DType type);

}  // namespace velatura::backend::cpu
