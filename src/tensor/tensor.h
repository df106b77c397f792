// A tensor: a cheap handle on shared storage. Always contiguous, row-major; a view is a run of
// whole outermost slices or the same elements under another shape. Pictures inside the engine are
// channels-last [N, H, W, C], tokens [N, L, C], so the step between them is reshaped().
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace velatura {

/// Bytes somewhere, kept alive by `owner` (a pool block, a mapped file). 64-byte aligned when made
/// by allocate().
struct Storage {
  std::shared_ptr<void> owner;
  std::byte* data = nullptr;
  std::size_t size = 0;
};

class Tensor {
 public:
  Tensor() = default;  ///< the absent tensor: defined() is false
  Tensor(Storage storage, Shape shape, DType type);
  /// Fresh uninitialised memory from the heap, 64-byte aligned. Inside a model use
  /// Workspace::allocate.
  static Tensor allocate(const Shape& shape, DType type);
  static Tensor zeros(const Shape& shape, DType type);
  static Tensor from(std::span<const float> values, const Shape& shape);  ///< an f32 copy

  bool defined() const { return storage_.data != nullptr || shape_.rank() > 0; }
  const Shape& shape() const { return shape_; }
  std::int64_t size(int axis) const { return shape_[axis]; }
  int rank() const { return shape_.rank(); }
  DType dtype() const { return type_; }
  std::int64_t count() const { return count_; }
  std::size_t byte_size() const { return static_cast<std::size_t>(count_) * size_of(type_); }

  /// Typed access. T must have the element's size; checked. u16 stands for the 16-bit floats.
  template <typename T>
  const T* data() const {
    check_element(sizeof(T));
    return reinterpret_cast<const T*>(storage_.data);
  }
  template <typename T>
  T* mutable_data() {
    check_element(sizeof(T));
    return reinterpret_cast<T*>(storage_.data);
  }
  const std::byte* bytes() const { return storage_.data; }
  std::byte* mutable_bytes() { return storage_.data; }
  std::span<const float> floats() const {
    return {data<float>(), static_cast<std::size_t>(count_)};
  }
  std::span<float> mutable_floats() {
    return {mutable_data<float>(), static_cast<std::size_t>(count_)};
  }
  const Storage& storage() const { return storage_; }

  /// The same elements under another shape of the same count.
  Tensor reshaped(const Shape& shape) const;
  /// Slices [begin, end) of the outermost axis; shares storage.
  Tensor slice(std::int64_t begin, std::int64_t end) const;
  /// A heap copy.
  Tensor clone() const;

 private:
  void check_element(std::size_t size) const;
  Storage storage_;
  Shape shape_;
  DType type_ = DType::f32;
  std::int64_t count_ = 0;
};

/// Element-wise conversion on the heap, any floating type to f32 (and back with round to nearest
/// even). For files and tests; inside a model use ops::cast.
Tensor to_f32(const Tensor& tensor);
Tensor from_f32(const Tensor& tensor, DType type);

}  // namespace velatura
