#include "backend/cpu/kernels/pointwise_bf16.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>

#include "ops/activation.h"

#include "backend/cpu/kernels/avx512_bf16_begin.h"
#include "backend/cpu/kernels/tile_avx512_bf16-inl.h"

namespace velatura::backend::cpu::kernels {
namespace {

/// Lanes below `count` of a vector.
inline __mmask16 lanes_below(std::int64_t count) {
  return static_cast<__mmask16>((1u << std::clamp<std::int64_t>(count, 0, kVectorLanes)) - 1);
}

template <bool SILU>
inline __m512 affine(__m512 x, __m512 scale, __m512 shift) {
  const __m512 value = _mm512_fmadd_ps(x, scale, shift);
  return SILU ? swish(value, 1.0f) : value;
}

template <bool SILU>
void affine_rows(const Bf16* x, const float* scale, const float* shift, std::int64_t rows,
                 std::int64_t width, Bf16* y) {
  for (std::int64_t row = 0; row < rows; ++row, x += width, y += width) {
    std::int64_t c = 0;
    for (; c + kVectorLanes <= width; c += kVectorLanes) {
      const __m512 value = widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + c)));
      _mm256_storeu_si256(
          reinterpret_cast<__m256i*>(y + c),
          narrow(affine<SILU>(value, _mm512_loadu_ps(scale + c), _mm512_loadu_ps(shift + c))));
    }
    if (c == width) continue;
    const __mmask16 lanes = lanes_below(width - c);
    const __m512 value = widen(_mm256_maskz_loadu_epi16(lanes, x + c));
    _mm256_mask_storeu_epi16(y + c, lanes,
                             narrow(affine<SILU>(value, _mm512_maskz_loadu_ps(lanes, scale + c),
                                                 _mm512_maskz_loadu_ps(lanes, shift + c))));
  }
}

}  // namespace

void affine_rows_bf16(const std::uint16_t* x, const float* scale, const float* shift, bool silu,
                      std::int64_t rows, std::int64_t width, std::uint16_t* y) {
  if (silu) return affine_rows<true>(x, scale, shift, rows, width, y);
  affine_rows<false>(x, scale, shift, rows, width, y);
}

void gate_rows_bf16(const std::uint16_t* x, std::int64_t rows, std::int64_t width,
                    std::uint16_t* y) {
  for (std::int64_t row = 0; row < rows; ++row, x += 2 * width, y += width) {
    for (std::int64_t c = 0; c < width; c += kVectorLanes) {
      const __mmask16 lanes = lanes_below(width - c);
      const __m512 value = widen(_mm256_maskz_loadu_epi16(lanes, x + c));
      const __m512 gate = widen(_mm256_maskz_loadu_epi16(lanes, x + width + c));
      const __m256i result = narrow(_mm512_mul_ps(value, gelu(gate)));
      if (lanes == 0xffff) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + c), result);
      } else {
        _mm256_mask_storeu_epi16(y + c, lanes, result);
      }
    }
  }
}

}  // namespace velatura::backend::cpu::kernels

#include "backend/cpu/kernels/avx512_bf16_end.h"

#endif
