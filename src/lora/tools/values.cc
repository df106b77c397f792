#include "lora/tools/values.h"

#include <exception>
#include <mutex>

namespace velatura::lora::tools {

namespace {

/// Counts by the bits of a sign-magnitude float type: branchless, so that the loop becomes vector
/// instructions.
template <typename Bits>
TensorValues count_bits(const Tensor& tensor, Bits exponent, Bits magnitude, bool wants_subnormal) {
  const Bits* bits = tensor.data<Bits>();
  TensorValues found{.count = tensor.count()};
  for (std::int64_t begin = 0; begin < found.count;) {
    // Counters as narrow as the elements, emptied before they can overflow.
    const std::int64_t end = std::min<std::int64_t>(found.count, begin + 32'767);
    Bits not_finite = 0, zeros = 0, no_exponent = 0;
    for (; begin < end; ++begin) {
      const Bits value = bits[begin];
      not_finite = static_cast<Bits>(not_finite + ((value & exponent) == exponent));
      zeros = static_cast<Bits>(zeros + ((value & magnitude) == 0));
      no_exponent = static_cast<Bits>(no_exponent + ((value & exponent) == 0));
    }
    found.not_finite += not_finite;
    found.zeros += zeros;
    if (wants_subnormal) found.subnormal += no_exponent - zeros;
  }
  return found;
}

TensorValues count_values(const Tensor& tensor) {
  switch (tensor.dtype()) {
    case DType::f16:
      return count_bits<std::uint16_t>(tensor, 0x7c00, 0x7fff, true);
    case DType::bf16:
      return count_bits<std::uint16_t>(tensor, 0x7f80, 0x7fff, false);
    case DType::f32:
      return count_bits<std::uint32_t>(tensor, 0x7f800000, 0x7fffffff, false);
    case DType::f64:
      return count_bits<std::uint64_t>(tensor, 0x7ff0000000000000, 0x7fffffffffffffff, false);
    default:
      return count_bits<std::uint32_t>(to_f32(tensor), 0x7f800000, 0x7fffffff, false);
  }
}

}  // namespace

std::vector<TensorValues> scan_values(const weights::Source& source, const StopToken& stop) {
  const std::vector<weights::TensorInfo>& tensors = source.tensors();
  std::vector<TensorValues> found(tensors.size());
  std::exception_ptr failure;
  std::mutex mutex;
#pragma omp parallel for schedule(dynamic, 8)
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(tensors.size()); ++i) {
    const weights::TensorInfo& info = tensors[static_cast<std::size_t>(i)];
    if (!is_floating(info.dtype)) continue;
    try {
      throw_if_stopped(stop);
      found[static_cast<std::size_t>(i)] = count_values(source.load(info.name));
      source.release(info.name);
    } catch (...) {
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
  return found;
}

}  // namespace velatura::lora::tools
