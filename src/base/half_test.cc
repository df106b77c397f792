#include "base/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace velatura {
namespace {

/// A 16-bit float format by its widths, decoded by the definition.
struct Format {
  int exponent_bits, mantissa_bits;

  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  std::uint32_t infinity() const {
    return ((1u << exponent_bits) - 1) << mantissa_bits;  // positive; NaN above
  }
  double value(std::uint32_t magnitude) const {
    const int exponent = static_cast<int>(magnitude >> mantissa_bits);
    const int mantissa = static_cast<int>(magnitude & ((1u << mantissa_bits) - 1));
    if (exponent == 0) return std::ldexp(mantissa, 1 - bias() - mantissa_bits);
    return std::ldexp((1 << mantissa_bits) + mantissa, exponent - bias() - mantissa_bits);
  }
};

constexpr Format kF16{5, 10};
constexpr Format kBf16{8, 7};
constexpr std::uint32_t kSign = 0x8000;

template <typename Decode>
void expect_every_value_decoded(const Format& format, const Decode& decode) {
  for (std::uint32_t bits = 0; bits < format.infinity(); ++bits) {
    ASSERT_EQ(decode(static_cast<std::uint16_t>(bits)), format.value(bits)) << bits;
    const float negative = decode(static_cast<std::uint16_t>(bits | kSign));
    ASSERT_EQ(negative, -format.value(bits)) << bits;
    ASSERT_TRUE(std::signbit(negative)) << bits;
  }
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(decode(static_cast<std::uint16_t>(format.infinity())), infinity);
  EXPECT_EQ(decode(static_cast<std::uint16_t>(format.infinity() | kSign)), -infinity);
  for (std::uint32_t bits = format.infinity() + 1; bits < kSign; ++bits) {
    ASSERT_TRUE(std::isnan(decode(static_cast<std::uint16_t>(bits)))) << bits;
  }
}

/// Every representable value, every midpoint of neighbours (ties to even) and the floats beside it.
template <typename Encode>
void expect_nearest_even(const Format& format, const Encode& encode) {
  const auto expect = [&](double value, std::uint32_t bits) {
    const float exact = static_cast<float>(value);
    ASSERT_EQ(encode(exact), bits) << value;
    ASSERT_EQ(encode(-exact), bits | kSign) << value;
  };
  for (std::uint32_t bits = 0; bits < format.infinity(); ++bits) {
    // The neighbour of the largest value is where the next one would be: from the midpoint on,
    // infinity.
    const double low = format.value(bits), high = format.value(bits + 1);
    expect(low, bits);
    const double middle = (low + high) / 2;
    const float middle_float = static_cast<float>(middle);
    if (static_cast<double>(middle_float) != middle) continue;  // below float's own subnormals
    expect(middle, bits + (bits & 1));
    expect(static_cast<double>(std::nextafter(middle_float, 0.0f)), bits);
    if (static_cast<double>(std::numeric_limits<float>::max()) > middle) {
      expect(
          static_cast<double>(std::nextafter(middle_float, std::numeric_limits<float>::infinity())),
          bits + 1);
    }
  }
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(encode(infinity), format.infinity());
  EXPECT_EQ(encode(-infinity), format.infinity() | kSign);
}

TEST(Half, DecodesEveryF16) {
  expect_every_value_decoded(kF16, f16_to_float);
}
TEST(Half, DecodesEveryBf16) {
  expect_every_value_decoded(kBf16, bf16_to_float);
}
TEST(Half, RoundsToTheNearestF16) {
  expect_nearest_even(kF16, float_to_f16);
}
TEST(Half, RoundsToTheNearestBf16) {
  expect_nearest_even(kBf16, float_to_bf16);
}

TEST(Half, KeepsNotANumber) {
  for (const std::uint32_t bits : {0x7f800001u, 0x7fffffffu, 0xff800001u, 0xffc00000u}) {
    const float nan = std::bit_cast<float>(bits);
    EXPECT_TRUE(std::isnan(f16_to_float(float_to_f16(nan)))) << bits;
    EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(nan)))) << bits;
    EXPECT_EQ(float_to_f16(nan) & kSign, bits >> 16 & kSign);
    EXPECT_EQ(float_to_bf16(nan) & kSign, bits >> 16 & kSign);
  }
}

TEST(Half, OverflowsToInfinity) {
  EXPECT_EQ(float_to_f16(65519.0f), 0x7bff);
  EXPECT_EQ(float_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(float_to_f16(1e30f), 0x7c00);
  EXPECT_EQ(float_to_bf16(std::numeric_limits<float>::max()), 0x7f80);
}

}  // namespace
}  // namespace velatura
