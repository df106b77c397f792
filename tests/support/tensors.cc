#include "tests/support/tensors.h"

#include <cmath>

#include "base/error.h"

namespace velatura::testing {

namespace {

/// SplitMix64 (Steele, Lea & Flood 2014): a counter is enough of a state.
std::uint64_t scrambled(std::uint64_t counter) {
  std::uint64_t z = counter * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

::testing::AssertionResult same_kind(const Tensor& actual, const Tensor& expected) {
  if (actual.shape() == expected.shape() && actual.dtype() == expected.dtype()) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure()
         << "found " << to_string(actual.dtype()) << ' ' << actual.shape().to_string()
         << ", expected " << to_string(expected.dtype()) << ' ' << expected.shape().to_string();
}

}  // namespace

Tensor uniform_tensor(const Shape& shape, DType type, std::uint64_t seed) {
  Tensor values = Tensor::allocate(shape, DType::f32);
  std::uint64_t counter = scrambled(seed + 1);
  for (float& value : values.mutable_floats()) {
    value = static_cast<float>(scrambled(++counter) >> 40) * 0x1p-23f - 1.0f;
  }
  return from_f32(values, type);
}

double epsilon_of(DType type) {
  switch (type) {
    case DType::f32:
      return 0x1p-23;
    case DType::f16:
      return 0x1p-10;
    case DType::bf16:
      return 0x1p-7;
    default:
      fail(ErrorKind::internal, "epsilon of {} is not used by tests", to_string(type));
  }
}

::testing::AssertionResult within(const Tensor& actual, const Tensor& expected,
                                  const Tolerance& tolerance) {
  if (const auto same = same_kind(actual, expected); !same) return same;
  const Tensor found = to_f32(actual), wanted = to_f32(expected);
  double worst = 0;
  std::int64_t worst_index = 0;
  for (std::int64_t i = 0; i < found.count(); ++i) {
    const double a = found.data<float>()[i], e = wanted.data<float>()[i];
    const double allowed = tolerance.absolute + tolerance.relative * std::abs(e);
    double excess = std::abs(a - e) / allowed;
    if (a == e) excess = 0;                        // also 0 / 0 where no error is allowed
    if (!std::isfinite(a - e)) excess = INFINITY;  // NaN compares false with everything
    if (excess > worst) {
      worst = excess;
      worst_index = i;
    }
  }
  if (worst <= 1) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "element " << worst_index << " of " << expected.shape().to_string() << " is "
         << found.data<float>()[worst_index] << ", expected " << wanted.data<float>()[worst_index]
         << ": " << worst << " times the allowed difference (" << tolerance.absolute << " + "
         << tolerance.relative << " |expected|)";
}

::testing::AssertionResult bit_identical(const Tensor& actual, const Tensor& expected) {
  if (const auto same = same_kind(actual, expected); !same) return same;
  for (std::size_t byte = 0; byte < expected.byte_size(); ++byte) {
    if (actual.bytes()[byte] != expected.bytes()[byte]) {
      return ::testing::AssertionFailure()
             << "element " << byte / size_of(expected.dtype()) << " of "
             << expected.shape().to_string() << " differs in its bits";
    }
  }
  return ::testing::AssertionSuccess();
}

}  // namespace velatura::testing
