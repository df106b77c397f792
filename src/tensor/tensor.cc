#include "tensor/tensor.h"

#include <algorithm>
#include <bit>
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
    fail(ErrorKind::out_of_memory, "a tensor of shape {} does not fit in memory",
         shape.to_string());
  }
  constexpr std::size_t kAlignment = 64;
  const std::size_t rounded =
      (static_cast<std::size_t>(bytes) + kAlignment) / kAlignment * kAlignment;
  void* memory = std::aligned_alloc(kAlignment, rounded);
  if (memory == nullptr) {
    fail(ErrorKind::out_of_memory, "cannot allocate {} bytes for a tensor of shape {}", bytes,
         shape.to_string());
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
  return Tensor(std::move(part), Shape(std::span(extents.data(), static_cast<std::size_t>(rank()))),
                type_);
}

Tensor Tensor::clone() const {
  Tensor copy = allocate(shape_, type_);
  if (count_ > 0) std::memcpy(copy.mutable_bytes(), bytes(), byte_size());
  return copy;
}

void Tensor::check_element(std::size_t size) const {
  VELATURA_CHECK(size == size_of(type_));
}

namespace {

/// One loop a type, without branches, so that compilers make vectors of it: adapters and weights of
/// gigabytes come along here.
template <typename Stored, typename Convert>
void convert_all(const Tensor& from, float* to, const Convert& convert) {
  const auto* stored = reinterpret_cast<const Stored*>(from.bytes());
  for (std::int64_t i = 0; i < from.count(); ++i) to[i] = convert(stored[i]);
}

/// f16_to_float() without branches: the exponent is moved by a multiplication with 2^112, which
/// makes normal numbers of subnormals too; all ones stay infinity or NaN.
float f16_to_float_flat(std::uint16_t half) {
  const std::uint32_t magnitude = (half & 0x7fffu) << 13;
  const float moved = std::bit_cast<float>(magnitude) * 0x1p112f;
  const std::uint32_t special = magnitude >= 0x0f800000u ? 0x7f800000u : 0u;
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(moved) | special |
                              (std::uint32_t{half & 0x8000u} << 16));
}

}  // namespace

Tensor to_f32(const Tensor& tensor) {
  if (tensor.dtype() == DType::f32) return tensor;
  Tensor out = Tensor::allocate(tensor.shape(), DType::f32);
  float* values = out.mutable_data<float>();
  const auto as_number = [](auto value) { return static_cast<float>(value); };
  switch (tensor.dtype()) {
    case DType::f32:
      break;
    case DType::f64:
      convert_all<double>(tensor, values, as_number);
      break;
    case DType::f16:
      convert_all<std::uint16_t>(tensor, values, f16_to_float_flat);
      break;
    case DType::bf16:
      convert_all<std::uint16_t>(tensor, values, bf16_to_float);
      break;
    case DType::f8_e4m3:
      convert_all<std::uint8_t>(tensor, values, f8_e4m3_to_float);
      break;
    case DType::f8_e5m2:
      convert_all<std::uint8_t>(tensor, values, f8_e5m2_to_float);
      break;
    case DType::i64:
      convert_all<std::int64_t>(tensor, values, as_number);
      break;
    case DType::i32:
      convert_all<std::int32_t>(tensor, values, as_number);
      break;
    case DType::i16:
      convert_all<std::int16_t>(tensor, values, as_number);
      break;
    case DType::i8:
      convert_all<std::int8_t>(tensor, values, as_number);
      break;
    case DType::u8:
    case DType::boolean:
      convert_all<std::uint8_t>(tensor, values, as_number);
      break;
  }
  return out;
}

Tensor from_f32(const Tensor& tensor, DType type) {
  if (type == DType::f32) return tensor;
  Tensor out = Tensor::allocate(tensor.shape(), type);
  const auto convert = [&]<typename Stored>(Stored* to, const auto& narrow) {
    std::ranges::transform(tensor.floats(), to, narrow);
  };
  switch (type) {
    case DType::f64:
      convert(out.mutable_data<double>(), [](float value) { return double{value}; });
      break;
    case DType::f16:
      convert(out.mutable_data<std::uint16_t>(), float_to_f16);
      break;
    case DType::bf16:
      convert(out.mutable_data<std::uint16_t>(), float_to_bf16);
      break;
    default:
      fail(ErrorKind::unsupported, "no conversion from f32 to {}", to_string(type));
  }
  return out;
}

}  // namespace velatura
