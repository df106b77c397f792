#include "backend/cpu/kernels/product.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>

#include "backend/cpu/kernels/avx512_bf16_begin.h"
#include "backend/cpu/kernels/tile_avx512_bf16-inl.h"

namespace velatura::backend::cpu::kernels {
namespace {

static_assert(kPanelWidth == kPanelColumns && kRowTile == kTileRows);

/// Rows of x that stay in half of a 1 MB second-level cache while the panels pass.
std::int64_t rows_of_block(std::int64_t in) {
  constexpr std::int64_t kBytes = 512 << 10;
  const std::int64_t rows = kBytes / (in * static_cast<std::int64_t>(sizeof(Bf16)));
  return std::max(rows / kTileRows, std::int64_t{1}) * kTileRows;
}

struct Place {
  std::int64_t row, column;
};

inline __m512 finish(const ProductProblem& p, __m512 value, std::int64_t column, __mmask16 lanes) {
  if (p.bias) value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(lanes, p.bias + column));
  value = activate(value, p.activation);
  if (p.column_scales) {
    value = _mm512_mul_ps(value, _mm512_maskz_loadu_ps(lanes, p.column_scales + column));
  }
  return value;
}

/// `columns` < 16: the last vector of a row.
void store_partial(const ProductProblem& p, __m512 sums, Place at, std::int64_t columns) {
  const auto lanes = static_cast<__mmask16>((1u << columns) - 1);
  __m512 value = finish(p, sums, at.column, lanes);
  const std::int64_t offset = at.row * p.out + at.column;
  if (p.residual) {
    value = _mm512_add_ps(value, widen(_mm256_maskz_loadu_epi16(lanes, p.residual + offset)));
  }
  _mm256_mask_storeu_epi16(p.y + offset, lanes, narrow(value));
}

inline void store_full(const ProductProblem& p, __m512 sums, Place at) {
  __m512 value = finish(p, sums, at.column, 0xffff);
  const std::int64_t offset = at.row * p.out + at.column;
  if (p.residual) {
    value = _mm512_add_ps(
        value, widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p.residual + offset))));
  }
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p.y + offset), narrow(value));
}

template <int ROWS, int VECTORS>
inline void compute_tile(const ProductProblem& p, std::int64_t row, std::int64_t panel) {
  __m512 sums[ROWS][VECTORS];
  clear(sums);
  accumulate_tile(p.base.x + row * p.base.in, p.base.in,
                  p.base.weight + panel * product_panel_elements(p.base.in), p.base.in / 2, sums);
  if (p.extra.in > 0) {
    accumulate_tile(p.extra.x + row * p.extra.in, p.extra.in,
                    p.extra.weight + panel * product_panel_elements(p.extra.in), p.extra.in / 2,
                    sums);
  }
  const std::int64_t column = panel * kPanelColumns;
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v) {
      const Place at{row + r, column + v * kVectorLanes};
      const std::int64_t left = p.out - at.column;
      if (v + 1 < VECTORS || left >= kVectorLanes) {
        store_full(p, sums[r][v], at);
      } else {
        store_partial(p, sums[r][v], at, left);
      }
    }
  }
}

template <int VECTORS>
void compute_rows(const ProductProblem& p, std::int64_t row, std::int64_t end, std::int64_t panel) {
  for (; row + kTileRows <= end; row += kTileRows) compute_tile<kTileRows, VECTORS>(p, row, panel);
  switch (end - row) {
    case 5:
      return compute_tile<5, VECTORS>(p, row, panel);
    case 4:
      return compute_tile<4, VECTORS>(p, row, panel);
    case 3:
      return compute_tile<3, VECTORS>(p, row, panel);
    case 2:
      return compute_tile<2, VECTORS>(p, row, panel);
    case 1:
      return compute_tile<1, VECTORS>(p, row, panel);
    default:
      return;
  }
}

/// One panel of up with each rank's column times its scale.
void scale_panel(const Bf16* up, const float* scales, std::int64_t rank, Bf16* scaled) {
  const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  for (std::int64_t r = 0; r < rank; r += 2, up += kPairElements, scaled += kPairElements) {
    const __m512 first = _mm512_set1_ps(scales[r]), second = _mm512_set1_ps(scales[r + 1]);
    for (std::int64_t i = 0; i < kPairElements; i += 2 * kVectorLanes) {
      const __m512i pairs = _mm512_loadu_si512(up + i);
      const __m512 low = _mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16));
      const __m512 high = _mm512_castsi512_ps(_mm512_and_si512(pairs, upper));
      const __m512i low_bits = _mm512_cvtepu16_epi32(narrow(_mm512_mul_ps(low, first)));
      const __m512i high_bits = _mm512_cvtepu16_epi32(narrow(_mm512_mul_ps(high, second)));
      _mm512_storeu_si512(scaled + i, _mm512_or_si512(low_bits, _mm512_slli_epi32(high_bits, 16)));
    }
  }
}

/// 32 bits without visible pattern from a position (the first rounds of MurmurHash3's finaliser).
inline __m512i scatter(__m512i position) {
  __m512i h = _mm512_mullo_epi32(position, _mm512_set1_epi32(static_cast<int>(0x9e3779b1u)));
  h = _mm512_xor_si512(h, _mm512_srli_epi32(h, 15));
  h = _mm512_mullo_epi32(h, _mm512_set1_epi32(static_cast<int>(0x85ebca77u)));
  return _mm512_xor_si512(h, _mm512_srli_epi32(h, 13));
}

/// ROWS neighbouring inputs (even) × 64 outputs of one panel.
template <int ROWS>
inline void merge_tile(const MergeProblem& p, const Bf16* scaled_up, std::int64_t input,
                       std::int64_t panel) {
  __m512 sums[ROWS][kTileVectors];
  clear(sums);
  accumulate_tile(p.down + input * p.rank, p.rank, scaled_up, p.rank / 2, sums);
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  const std::int64_t begin = panel * product_panel_elements(p.in);
#pragma GCC unroll 3
  for (int pair = 0; pair < ROWS / 2; ++pair) {
#pragma GCC unroll 4
    for (int v = 0; v < kTileVectors; ++v) {
      const std::int64_t at = begin + (input / 2 + pair) * kPairElements + 2 * kVectorLanes * v;
      const __m512i weights = _mm512_loadu_si512(p.weight + at);
      const __m512 low =
          _mm512_add_ps(_mm512_castsi512_ps(_mm512_slli_epi32(weights, 16)), sums[2 * pair][v]);
      const __m512 high = _mm512_add_ps(_mm512_castsi512_ps(_mm512_and_si512(weights, upper)),
                                        sums[2 * pair + 1][v]);
      const __m512i noise =
          scatter(_mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(at / 2)), lanes));
      const __m512i low_bits =
          _mm512_add_epi32(_mm512_castps_si512(low), _mm512_srli_epi32(noise, 16));
      const __m512i high_bits =
          _mm512_add_epi32(_mm512_castps_si512(high), _mm512_andnot_si512(upper, noise));
      _mm512_storeu_si512(p.merged + at, _mm512_or_si512(_mm512_srli_epi32(low_bits, 16),
                                                         _mm512_and_si512(high_bits, upper)));
    }
  }
}

}  // namespace

void product_merge(const MergeProblem& problem, std::int64_t panel_begin, std::int64_t panel_end,
                   std::uint16_t* scratch) {
  for (std::int64_t panel = panel_begin; panel < panel_end; ++panel) {
    scale_panel(problem.up + panel * product_panel_elements(problem.rank), problem.scales,
                problem.rank, scratch);
    std::int64_t input = 0;
    for (; input + 6 <= problem.in; input += 6) merge_tile<6>(problem, scratch, input, panel);
    if (problem.in - input == 4) merge_tile<4>(problem, scratch, input, panel);
    if (problem.in - input == 2) merge_tile<2>(problem, scratch, input, panel);
  }
}

void product_pack_panel(const std::uint16_t* rows, std::int64_t in, std::int64_t columns,
                        std::uint16_t* panel) {
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  const __m512i offsets = _mm512_mullo_epi32(lanes, _mm512_set1_epi32(static_cast<int>(in * 2)));
  for (std::int64_t c = 0; c < kPanelColumns; c += kVectorLanes) {
    const std::int64_t left = std::clamp<std::int64_t>(columns - c, 0, kVectorLanes);
    const auto mask = static_cast<__mmask16>((1u << left) - 1);
    for (std::int64_t pair = 0; pair < in / 2; ++pair) {
      const __m512i values = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), mask, offsets,
                                                         rows + c * in + 2 * pair, 1);
      _mm512_storeu_si512(panel + pair * kPairElements + 2 * c, values);
    }
  }
}

void product_part(const ProductProblem& problem, std::int64_t row_begin, std::int64_t row_end,
                  std::int64_t panel_begin, std::int64_t panel_end) {
  const std::int64_t block = rows_of_block(problem.base.in + problem.extra.in);
  for (std::int64_t row = row_begin; row < row_end; row += block) {
    const std::int64_t end = std::min(row + block, row_end);
    for (std::int64_t panel = panel_begin; panel < panel_end; ++panel) {
      const std::int64_t left = problem.out - panel * kPanelColumns;
      if (left > 3 * kVectorLanes) {
        compute_rows<4>(problem, row, end, panel);
      } else if (left > 2 * kVectorLanes) {
        compute_rows<3>(problem, row, end, panel);
      } else if (left > kVectorLanes) {
        compute_rows<2>(problem, row, end, panel);
      } else {
        compute_rows<1>(problem, row, end, panel);
      }
    }
  }
}

}  // namespace velatura::backend::cpu::kernels

#include "backend/cpu/kernels/avx512_bf16_end.h"

#endif
