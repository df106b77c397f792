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

}  // namespace

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
