// The element types that files and kernels know.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace velatura {

enum class DType : std::uint8_t {
  f64,
  f32,
  f16,
  bf16,
  f8_e4m3,
  f8_e5m2,
  i64,
  i32,
  i16,
  i8,
  u8,
  boolean
};

std::size_t size_of(DType type);  ///< bytes of one element
std::string_view to_string(DType type);
bool is_floating(DType type);

}  // namespace velatura
