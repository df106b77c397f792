#include "tensor/tensor.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "base/error.h"
#include "base/half.h"
#include "tensor/f8.h"

namespace velatura {

Tensor::Tensor(Storage storage, Shape shape, DType type)
    : storage_(std::move(storage)), shape_(shape), type_(type), count_(shape.count()) {
  // Divided, since a shape from a file may have more bytes than a size counts.
  VELATURA_CHECK(static_cast<std::size_t>(count_) <= storage_.size / size_of(type));
}

Tensor Tensor::allocate(const Shape& shape, DType type) {
  const std::int64_t count = shape.count();
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(count, static_cast<std::int64_t>(size_of(type)), &bytes)) {
    fail(ErrorKind::out_of_memory, "a tensor of shape {} does not fit in memory", shape.to_string());
  }
  constexpr std::size_t kAlignment = 64;
  const std::size_t rounded = (static_cast<std::size_t>(bytes) + kAlignment) / kAlignment * kAlignment;
  void* memory = std::aligned_alloc(kAlignment, rounded);
  if (memory == nullptr) {
    fail(ErrorKind::out_of_memory, "cannot allocate {} bytes for a tensor of shape {}", bytes, shape.to_string());
  }
  std::shared_ptr<void> owner(memory, [](void* p) { std::free(p); });
  return Tensor({owner, static_cast<std::byte*>(memory), rounded}, shape, type);
}

Tensor Tensor::zeros(const Shape& shape, DType type) {
  Tensor tensor = allocate(shape, type);
  std::memset(tensor.mutable_bytes(), 0, tensor.byte_size());
  return tensor;
}

Tensor Tensor::from(std::span<const float> values, const Shape& shape) {
  Tensor tensor = allocate(shape, DType::f32);
  VELATURA_CHECK(static_cast<std::int64_t>(values.size()) == tensor.count());
  if (!values.empty()) std::memcpy(tensor.mutable_bytes(), values.data(), values.size_bytes());
  return tensor;
}

Tensor Tensor::reshaped(const Shape& shape) const {
  VELATURA_CHECK(shape.count() == count_);
  return Tensor(storage_, shape, type_);
}

Tensor Tensor::slice(std::int64_t begin, std::int64_t end) const {
  VELATURA_CHECK(rank() > 0 && 0 <= begin && begin <= end && end <= size(0));
  std::array<std::int64_t, Shape::kMaxRank> extents{};
  for (int axis = 0; axis < rank(); ++axis) extents[static_cast<std::size_t>(axis)] = size(axis);
  const std::int64_t inner = size(0) == 0 ? 0 : count_ / size(0);
  extents[0] = end - begin;
  Storage part = storage_;
  const std::size_t offset = static_cast<std::size_t>(begin * inner) * size_of(type_);
  part.data += offset;
  part.size -= offset;
  return Tensor(std::move(part), Shape(std::span(extents.data(), static_cast<std::size_t>(rank()))), type_);
}

Tensor Tensor::clone() const {
  Tensor copy = allocate(shape_, type_);
  if (count_ > 0) std::memcpy(copy.mutable_bytes(), bytes(), byte_size());
  return copy;
}

void Tensor::check_element(std::size_t size) const { VELATURA_CHECK(size == size_of(type_)); }

namespace {

float value_as_float(const std::byte* at, DType type) {
  const auto load = [at]<typename T>(T value) {
    std::memcpy(&value, at, sizeof(T));
    return value;
  };
  switch (type) {
    case DType::f64: return static_cast<float>(load(double{}));
    case DType::f32: return load(float{});
    case DType::f16: return f16_to_float(load(std::uint16_t{}));
    case DType::bf16: return bf16_to_float(load(std::uint16_t{}));
    case DType::f8_e4m3: return f8_e4m3_to_float(load(std::uint8_t{}));
    case DType::f8_e5m2: return f8_e5m2_to_float(load(std::uint8_t{}));
    case DType::i64: return static_cast<float>(load(std::int64_t{}));
    case DType::i32: return static_cast<float>(load(std::int32_t{}));
    case DType::i16: return load(std::int16_t{});
    case DType::i8: return load(std::int8_t{});
    case DType::u8:
    case DType::boolean: return load(std::uint8_t{});
  }
  return 0;
}

}  // namespace

Tensor to_f32(const Tensor& tensor) {
  if (tensor.dtype() == DType::f32) return tensor;
  Tensor out = Tensor::allocate(tensor.shape(), DType::f32);
  const std::size_t width = size_of(tensor.dtype());
  float* values = out.mutable_data<float>();
  for (std::int64_t i = 0; i < tensor.count(); ++i) {
    values[i] = value_as_float(tensor.bytes() + static_cast<std::size_t>(i) * width, tensor.dtype());
  }
  return out;
}

Tensor from_f32(const Tensor& tensor, DType type) {
  if (type == DType::f32) return tensor;
  Tensor out = Tensor::allocate(tensor.shape(), type);
  const float* values = tensor.data<float>();
  for (std::int64_t i = 0; i < tensor.count(); ++i) {
    switch (type) {
      case DType::f64: out.mutable_data<double>()[i] = values[i]; break;
      case DType::f16: out.mutable_data<std::uint16_t>()[i] = float_to_f16(values[i]); break;
      case DType::bf16: out.mutable_data<std::uint16_t>()[i] = float_to_bf16(values[i]); break;
      default: fail(ErrorKind::unsupported, "no conversion from f32 to {}", to_string(type));
    }
  }
  return out;
}

}  // namespace velatura
