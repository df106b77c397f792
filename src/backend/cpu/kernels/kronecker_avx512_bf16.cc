#include "backend/cpu/kernels/kronecker.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>

#include "backend/cpu/kernels/avx512_bf16_begin.h"
#include "backend/cpu/kernels/tile_avx512_bf16-inl.h"

namespace velatura::backend::cpu::kernels {
namespace {

constexpr std::int64_t kHalf = 8;  ///< lanes of half a vector
static_assert(kHalf == kKroneckerColumns);

std::int64_t padded(std::int64_t columns) {
  return (columns + kHalf - 1) / kHalf * kHalf;
}

/// a [rows, 2·pairs] (row-major, bf16) times b [pairs][columns][2].
struct SmallProduct {
  const Bf16* a;
  std::int64_t a_stride;
  std::int64_t pairs;
  const Bf16* b;
  std::int64_t columns;  ///< a multiple of 8: b's own padded width
};

/// ROWS × (16·FULL + 8·HALF) sums. Half vectors cost half where AVX-512 runs at half width (Zen 4),
/// and nothing more elsewhere.
template <int ROWS, int FULL, bool HALF>
struct Sums {
  __m512 full[ROWS][FULL == 0 ? 1 : FULL];
  __m256 half[ROWS];
};

template <int ROWS, int FULL, bool HALF>
inline void multiply(const SmallProduct& p, std::int64_t row, std::int64_t column,
                     Sums<ROWS, FULL, HALF>& sums) {
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < FULL; ++v) sums.full[r][v] = _mm512_setzero_ps();
    if constexpr (HALF) sums.half[r] = _mm256_setzero_ps();
  }
  const Bf16* a = p.a + row * p.a_stride;
  const Bf16* b = p.b + 2 * column;
  for (std::int64_t k = 0; k < p.pairs; ++k, a += 2, b += 2 * p.columns) {
    __m512bh full[FULL == 0 ? 1 : FULL];
    __m256bh half;
#pragma GCC unroll 4
    for (int v = 0; v < FULL; ++v) {
      full[v] = (__m512bh)_mm512_loadu_si512(b + 2 * kVectorLanes * v);
    }
    if constexpr (HALF) {
      half = (__m256bh)_mm256_loadu_si256(
          reinterpret_cast<const __m256i*>(b + 2 * kVectorLanes * FULL));
    }
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; ++r) {
      const __m512i x = broadcast_pair(a + r * p.a_stride);
#pragma GCC unroll 4
      for (int v = 0; v < FULL; ++v) {
        sums.full[r][v] = _mm512_dpbf16_ps(sums.full[r][v], full[v], (__m512bh)x);
      }
      if constexpr (HALF) {
        sums.half[r] = _mm256_dpbf16_ps(sums.half[r], half, (__m256bh)_mm512_castsi512_si256(x));
      }
    }
  }
}

/// Rounded, two neighbouring rows interleaved: to [rows / 2][columns][2].
struct StorePairs {
  static constexpr bool kPairs = true;
  Bf16* to;
  std::int64_t columns;

  template <int ROWS, int FULL, bool HALF>
  inline void operator()(const Sums<ROWS, FULL, HALF>& sums, std::int64_t row,
                         std::int64_t column) const {
    const __m512i order =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    const __m256i half_order =
        _mm256_set_epi16(15, 7, 14, 6, 13, 5, 12, 4, 11, 3, 10, 2, 9, 1, 8, 0);
#pragma GCC unroll 3
    for (int pair = 0; pair < ROWS / 2; ++pair) {
      Bf16* at = to + (row / 2 + pair) * 2 * columns + 2 * column;
#pragma GCC unroll 4
      for (int v = 0; v < FULL; ++v) {
        const auto both =
            (__m512i)_mm512_cvtne2ps_pbh(sums.full[2 * pair + 1][v], sums.full[2 * pair][v]);
        _mm512_storeu_si512(at + 2 * kVectorLanes * v, _mm512_permutexvar_epi16(order, both));
      }
      if constexpr (HALF) {
        const auto both =
            (__m256i)_mm256_cvtne2ps_pbh(sums.half[2 * pair + 1], sums.half[2 * pair]);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(at + 2 * kVectorLanes * FULL),
                            _mm256_permutexvar_epi16(half_order, both));
      }
    }
  }
};

/// Rounded: to [rows][columns].
struct StoreRows {
  static constexpr bool kPairs = false;
  Bf16* to;
  std::int64_t columns;

  template <int ROWS, int FULL, bool HALF>
  inline void operator()(const Sums<ROWS, FULL, HALF>& sums, std::int64_t row,
                         std::int64_t column) const {
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; ++r) {
      Bf16* at = to + (row + r) * columns + column;
#pragma GCC unroll 4
      for (int v = 0; v < FULL; ++v) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(at + kVectorLanes * v),
                            narrow(sums.full[r][v]));
      }
      if constexpr (HALF) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(at + kVectorLanes * FULL),
                         (__m128i)_mm256_cvtneps_pbh(sums.half[r]));
      }
    }
  }
};

inline __m256 widen_half(__m128i values) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(values), 16));
}

/// y [rows][columns] += scale · sums; y has no padding.
struct AddRows {
  static constexpr bool kPairs = false;
  Bf16* y;
  std::int64_t columns;
  float scale;

  inline void add_full(Bf16* at, __m512 sum, std::int64_t left) const {
    const __m512 factor = _mm512_set1_ps(scale);
    if (left >= kVectorLanes) {
      auto* to = reinterpret_cast<__m256i*>(at);
      _mm256_storeu_si256(to, narrow(_mm512_fmadd_ps(sum, factor, widen(_mm256_loadu_si256(to)))));
      return;
    }
    const auto lanes = static_cast<__mmask16>((1u << left) - 1);
    const __m512 before = widen(_mm256_maskz_loadu_epi16(lanes, at));
    _mm256_mask_storeu_epi16(at, lanes, narrow(_mm512_fmadd_ps(sum, factor, before)));
  }

  inline void add_half(Bf16* at, __m256 sum, std::int64_t left) const {
    const __m256 factor = _mm256_set1_ps(scale);
    auto* to = reinterpret_cast<__m128i*>(at);
    const auto added = [&](__m128i before) {
      return (__m128i)_mm256_cvtneps_pbh(_mm256_fmadd_ps(sum, factor, widen_half(before)));
    };
    if (left >= kHalf) return _mm_storeu_si128(to, added(_mm_loadu_si128(to)));
    // Four columns (a factor of 20) without a masked store, which is slow.
    if (left == 4) return _mm_storel_epi64(to, added(_mm_loadl_epi64(to)));
    const auto lanes = static_cast<__mmask8>((1u << left) - 1);
    _mm_mask_storeu_epi16(at, lanes, added(_mm_maskz_loadu_epi16(lanes, at)));
  }

  template <int ROWS, int FULL, bool HALF>
  inline void operator()(const Sums<ROWS, FULL, HALF>& sums, std::int64_t row,
                         std::int64_t column) const {
    const std::int64_t left = columns - column;
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; ++r) {
      Bf16* at = y + (row + r) * columns + column;
#pragma GCC unroll 4
      for (int v = 0; v < FULL; ++v) {
        add_full(at + kVectorLanes * v, sums.full[r][v], left - kVectorLanes * v);
      }
      if constexpr (HALF) {
        add_half(at + kVectorLanes * FULL, sums.half[r], left - kVectorLanes * FULL);
      }
    }
  }
};

template <int ROWS, int FULL, bool HALF, typename Store>
inline void tile(const SmallProduct& p, std::int64_t row, std::int64_t column, const Store& store) {
  Sums<ROWS, FULL, HALF> sums;
  multiply(p, row, column, sums);
  store(sums, row, column);
}

template <int FULL, bool HALF, typename Store>
void all_rows(const SmallProduct& p, std::int64_t rows, std::int64_t column, const Store& store) {
  std::int64_t row = 0;
  for (; row + 6 <= rows; row += 6) tile<6, FULL, HALF>(p, row, column, store);
  if (row + 4 <= rows) {
    tile<4, FULL, HALF>(p, row, column, store);
    row += 4;
  }
  if (row + 2 <= rows) {
    tile<2, FULL, HALF>(p, row, column, store);
    row += 2;
  }
  if constexpr (!Store::kPairs) {
    if (row < rows) tile<1, FULL, HALF>(p, row, column, store);
  }
}

/// How many half vectors to compute together of those left: up to 8, in parts of equal size, never
/// 7 (which has no tile).
std::int64_t next_part(std::int64_t halves) {
  if (halves == 7) return 4;
  const std::int64_t parts = (halves + 7) / 8;
  const std::int64_t part = (halves + parts - 1) / parts;
  return part == 7 ? 8 : part;
}

template <typename Store>
void multiply_all(const SmallProduct& p, std::int64_t rows, const Store& store) {
  std::int64_t column = 0;
  while (column < p.columns) {
    const std::int64_t part = next_part((p.columns - column) / kHalf);
    switch (part) {
      case 1:
        all_rows<0, true>(p, rows, column, store);
        break;
      case 2:
        all_rows<1, false>(p, rows, column, store);
        break;
      case 3:
        all_rows<1, true>(p, rows, column, store);
        break;
      case 4:
        all_rows<2, false>(p, rows, column, store);
        break;
      case 5:
        all_rows<2, true>(p, rows, column, store);
        break;
      case 6:
        all_rows<3, false>(p, rows, column, store);
        break;
      default:
        all_rows<4, false>(p, rows, column, store);
        break;
    }
    column += part * kHalf;
  }
}

/// x [rows, width] → [rows / 2][columns][2], rows even; the padding keeps whatever finite values
/// it reads from, since nothing reads the sums over it.
void interleave_rows(const Bf16* x, std::int64_t rows, std::int64_t width, Bf16* to,
                     std::int64_t columns) {
  for (std::int64_t row = 0; row < rows; row += 2, x += 2 * width, to += 2 * columns) {
    std::int64_t c = 0;
    for (; c + kVectorLanes <= width; c += kVectorLanes) {
      const __m512i low =
          _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + c)));
      const __m512i high = _mm512_cvtepu16_epi32(
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + width + c)));
      _mm512_storeu_si512(to + 2 * c, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
    for (; c < width; ++c) {
      to[2 * c] = x[c];
      to[2 * c + 1] = x[width + c];
    }
    std::fill(to + 2 * width, to + 2 * columns, Bf16{0});
  }
}

void inner_first(const KroneckerProblem& p, const Bf16* x, std::int64_t rows, Bf16* y,
                 Bf16* between) {
  const auto& [out_l, in_m, out_k, in_n] = p.shape;
  const std::int64_t columns = padded(out_k);
  const SmallProduct first{x, in_n, in_n / 2, static_cast<const Bf16*>(p.w2), columns};
  multiply_all(first, rows * in_m, StorePairs{between, columns});
  for (std::int64_t row = 0; row < rows; ++row) {
    const SmallProduct second{static_cast<const Bf16*>(p.w1), in_m, in_m / 2,
                              between + row * in_m * columns, columns};
    multiply_all(second, out_l, AddRows{y + row * out_l * out_k, out_k, p.scale});
  }
}

void outer_first(const KroneckerProblem& p, const Bf16* x, std::int64_t rows, Bf16* y,
                 Bf16* between) {
  const auto& [out_l, in_m, out_k, in_n] = p.shape;
  const std::int64_t columns = padded(in_n);
  Bf16* pairs = between + kronecker_block_rows(p.shape) * out_l * columns;
  for (std::int64_t row = 0; row < rows; ++row) {
    interleave_rows(x + row * in_m * in_n, in_m, in_n, pairs, columns);
    const SmallProduct first{static_cast<const Bf16*>(p.w1), in_m, in_m / 2, pairs, columns};
    multiply_all(first, out_l, StoreRows{between + row * out_l * columns, columns});
  }
  const SmallProduct second{between, columns, in_n / 2, static_cast<const Bf16*>(p.w2),
                            padded(out_k)};
  multiply_all(second, rows * out_l, AddRows{y, out_k, p.scale});
}

}  // namespace

bool kronecker_inner_first(const ops::KroneckerShape& s) {
  const std::int64_t inner = s.in_m * padded(s.out_k) * (s.in_n + s.out_l);
  const std::int64_t outer = s.out_l * (s.in_m * padded(s.in_n) + s.in_n * padded(s.out_k));
  return inner <= outer;
}

std::int64_t kronecker_block_rows(const ops::KroneckerShape& s) {
  constexpr std::int64_t kBytes = 12 << 10;  // beside w2, x and y in 32 KB
  const std::int64_t row = std::max(s.in_m * padded(s.out_k), s.out_l * padded(s.in_n)) *
                           static_cast<std::int64_t>(sizeof(Bf16));
  return std::clamp<std::int64_t>(kBytes / row, 1, 64);
}

std::size_t kronecker_scratch(const ops::KroneckerShape& s) {
  const std::int64_t row = std::max(s.in_m * padded(s.out_k), s.out_l * padded(s.in_n));
  return static_cast<std::size_t>(kronecker_block_rows(s) * row + s.in_m * padded(s.in_n)) *
         sizeof(Bf16);
}

void kronecker_rows_bf16(const KroneckerProblem& problem, const std::uint16_t* x, std::int64_t rows,
                         std::uint16_t* y, std::byte* scratch) {
  auto* between = reinterpret_cast<Bf16*>(scratch);
  if (problem.inner_first) return inner_first(problem, x, rows, y, between);
  outer_first(problem, x, rows, y, between);
}

}  // namespace velatura::backend::cpu::kernels

#include "backend/cpu/kernels/avx512_bf16_end.h"

#endif
