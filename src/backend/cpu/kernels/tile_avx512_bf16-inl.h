// The micro-kernel of bf16 products and the vector functions beside it. Only inside a region of
// avx512_bf16_begin.h.
//
// A tile is up to 6 rows × 64 columns: 24 accumulators, 4 vectors of weights, one broadcast pair of
// x. Each step over a pair of k needs 10 loads for 24 dot products, and vdpbf16ps issues once a
// cycle on Zen 4: the products set the pace.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace velatura::backend::cpu::kernels {
namespace {

using Bf16 = std::uint16_t;

constexpr int kTileRows = 6;
constexpr int kTileVectors = 4;
constexpr std::int64_t kVectorLanes = 16;
constexpr std::int64_t kPanelColumns = kTileVectors * kVectorLanes;
/// Elements of a panel for one pair of k: [64 columns][2].
constexpr std::int64_t kPairElements = 2 * kPanelColumns;

inline __m512i broadcast_pair(const Bf16* at) {
  std::int32_t pair;
  __builtin_memcpy(&pair, at, sizeof(pair));
  return _mm512_set1_epi32(pair);
}

/// sums += a [ROWS, 2·pairs] · the first 16·VECTORS columns of panel [pairs][64][2].
template <int ROWS, int VECTORS>
inline void accumulate_tile(const Bf16* a, std::int64_t a_stride, const Bf16* panel,
                            std::int64_t pairs, __m512 (&sums)[ROWS][VECTORS]) {
  for (std::int64_t k = 0; k < pairs; ++k, a += 2, panel += kPairElements) {
    __m512bh weights[VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) {
      weights[v] = (__m512bh)_mm512_loadu_si512(panel + 2 * kVectorLanes * v);
    }
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; ++r) {
      const __m512bh x = (__m512bh)broadcast_pair(a + r * a_stride);
#pragma GCC unroll 4
      for (int v = 0; v < VECTORS; ++v) {
        sums[r][v] = _mm512_dpbf16_ps(sums[r][v], weights[v], x);
      }
    }
  }
}

template <int ROWS, int VECTORS>
inline void clear(__m512 (&sums)[ROWS][VECTORS]) {
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) sums[r][v] = _mm512_setzero_ps();
  }
}

inline __m512 widen(__m256i values) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(values), 16));
}
inline __m256i narrow(__m512 values) {
  return (__m256i)_mm512_cvtneps_pbh(values);
}

/// 1 / x to f32 accuracy less one unit: an estimate and one Newton step.
inline __m512 reciprocal(__m512 x) {
  const __m512 estimate = _mm512_rcp14_ps(x);
  return _mm512_mul_ps(estimate, _mm512_fnmadd_ps(x, estimate, _mm512_set1_ps(2.0f)));
}

/// 2^t for |t| <= 126 (clamped): 2^floor(t) times a polynomial in the rest, relative error 8.4e-8
/// (a weighted least squares fit of degree 6 on [0, 1], refined until the error was even).
inline __m512 power_of_two(__m512 t) {
  t = _mm512_min_ps(_mm512_max_ps(t, _mm512_set1_ps(-126.0f)), _mm512_set1_ps(126.0f));
  constexpr int kMinusFloor = _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC;
  const __m512 r = _mm512_reduce_ps(t, kMinusFloor);
  __m512 p = _mm512_set1_ps(2.1702252e-04f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.2439688e-03f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(9.6788406e-03f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.5483341e-02f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.4022983e-01f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(6.9314700e-01f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, t);
}

constexpr float kLog2E = 1.44269504f;

inline __m512 swish(__m512 x, float alpha) {
  const __m512 e = power_of_two(_mm512_mul_ps(x, _mm512_set1_ps(-alpha * kLog2E)));
  return _mm512_mul_ps(x, reciprocal(_mm512_add_ps(e, _mm512_set1_ps(1.0f))));
}

/// x · Φ(x) as in vectors-inl.h (Abramowitz & Stegun 7.1.26).
inline __m512 gelu(__m512 x) {
  const __m512 one = _mm512_set1_ps(1.0f);
  const __m512 z = _mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(0.70710678f));
  const __m512 t = reciprocal(_mm512_fmadd_ps(z, _mm512_set1_ps(0.3275911f), one));
  __m512 p = _mm512_set1_ps(1.061405429f);
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-1.453152027f));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(1.421413741f));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-0.284496736f));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.254829592f));
  const __m512 square = _mm512_mul_ps(z, z);
  const __m512 half_tail =
      _mm512_mul_ps(_mm512_mul_ps(_mm512_mul_ps(p, t), _mm512_set1_ps(0.5f)),
                    power_of_two(_mm512_mul_ps(square, _mm512_set1_ps(-kLog2E))));
  const __mmask16 positive = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_GE_OQ);
  return _mm512_mul_ps(x, _mm512_mask_sub_ps(half_tail, positive, one, half_tail));
}

inline __m512 activate(__m512 x, ops::Activation kind) {
  switch (kind) {
    case ops::Activation::none:
      return x;
    case ops::Activation::silu:
      return swish(x, 1.0f);
    case ops::Activation::quick_gelu:
      return swish(x, 1.702f);
    case ops::Activation::gelu:
      return gelu(x);
    case ops::Activation::relu:
      return _mm512_max_ps(x, _mm512_setzero_ps());
    case ops::Activation::leaky_relu:
      return _mm512_max_ps(x, _mm512_mul_ps(x, _mm512_set1_ps(0.2f)));
  }
  return x;
}

}  // namespace
}  // namespace velatura::backend::cpu::kernels
