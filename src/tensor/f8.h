// The 8-bit float formats of checkpoints (OCP FP8; e4m3 is the "fn" form without infinities), one
// value at a time.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "base/half.h"

namespace velatura {

/// e5m2 is the upper byte of IEEE half precision.
inline float f8_e5m2_to_float(std::uint8_t bits) {
  return f16_to_float(static_cast<std::uint16_t>(bits << 8));
}

inline float f8_e4m3_to_float(std::uint8_t bits) {
  const int exponent = (bits >> 3) & 0xf;
  const int mantissa = bits & 0x7;
  const float sign = (bits & 0x80) ? -1.0f : 1.0f;
  if (exponent == 0xf && mantissa == 0x7) return std::numeric_limits<float>::quiet_NaN();
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(mantissa), -9);
  return sign * std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
}

}  // namespace velatura
