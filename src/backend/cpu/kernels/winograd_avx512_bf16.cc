#include "backend/cpu/kernels/winograd.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>

#include "backend/cpu/kernels/avx512_bf16_begin.h"
#include "backend/cpu/kernels/tile_avx512_bf16-inl.h"

namespace velatura::backend::cpu::kernels {
namespace {

constexpr int kPoints = 16;
constexpr std::int64_t kChunk = 32;  ///< channels transformed together
/// Rows of different points lie a multiple of 4 KiB apart when sizes are powers of two, and would
/// share cache sets.
constexpr std::int64_t kSpread = 64;

/// Inside a chunk the transformed channels stand as 0 2 4 … 30 1 3 … 31: widening bf16 pairs in
/// place separates even and odd ones, and nothing puts them back. The packed weights have the same
/// order.
std::int64_t channel_at(std::int64_t position) {
  const std::int64_t inside = position % kChunk;
  return position - inside + (inside < kChunk / 2 ? 2 * inside : 2 * (inside - kChunk / 2) + 1);
}

/// One thread's memory: transformed pictures [16][tiles][in] and products [16][tiles][64], and a
/// pixel of zeros.
struct Scratch {
  Bf16* picture;
  float* products;
  Bf16* zeros;
  std::int64_t picture_stride, product_stride;
};

Scratch scratch_parts(const WinogradProblem& p, std::int64_t block_tiles, std::byte* memory) {
  Scratch parts;
  parts.picture_stride = block_tiles * p.in_channels + kSpread / 2;
  parts.product_stride = block_tiles * kPanelColumns + kSpread / 4;
  parts.picture = reinterpret_cast<Bf16*>(memory);
  parts.products = reinterpret_cast<float*>(parts.picture + kPoints * parts.picture_stride);
  parts.zeros = reinterpret_cast<Bf16*>(parts.products + kPoints * parts.product_stride);
  return parts;
}

struct Tile {
  std::int64_t picture, top, left;  ///< of its first output pixel
};
Tile tile_at(const WinogradProblem& p, std::int64_t index) {
  const std::int64_t across = p.tiles_across(), down = p.tiles_down();
  return {index / (across * down), index / across % down * 2, index % across * 2};
}

struct EvenOdd {
  __m512 even, odd;
};
inline EvenOdd load_chunk(const Bf16* at) {
  const __m512i pairs = _mm512_loadu_si512(at);
  return {_mm512_castsi512_ps(_mm512_slli_epi32(pairs, 16)),
          _mm512_castsi512_ps(
              _mm512_and_si512(pairs, _mm512_set1_epi32(static_cast<int>(0xffff0000u))))};
}
inline EvenOdd operator+(EvenOdd a, EvenOdd b) {
  return {_mm512_add_ps(a.even, b.even), _mm512_add_ps(a.odd, b.odd)};
}
inline EvenOdd operator-(EvenOdd a, EvenOdd b) {
  return {_mm512_sub_ps(a.even, b.even), _mm512_sub_ps(a.odd, b.odd)};
}
inline void store_chunk(EvenOdd values, Bf16* to) {
  _mm512_storeu_si512(to, (__m512i)_mm512_cvtne2ps_pbh(values.odd, values.even));
}

/// Row `row` of Bᵀ d, then its product with B, Bᵀ = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1].
template <int ROW>
inline void transform_row(const Bf16* const (&pixels)[4][4], std::int64_t c, Bf16* to,
                          std::int64_t stride) {
  EvenOdd t[4];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    if constexpr (ROW == 0) t[j] = load_chunk(pixels[0][j] + c) - load_chunk(pixels[2][j] + c);
    if constexpr (ROW == 1) t[j] = load_chunk(pixels[1][j] + c) + load_chunk(pixels[2][j] + c);
    if constexpr (ROW == 2) t[j] = load_chunk(pixels[2][j] + c) - load_chunk(pixels[1][j] + c);
    if constexpr (ROW == 3) t[j] = load_chunk(pixels[1][j] + c) - load_chunk(pixels[3][j] + c);
  }
  to += (4 * ROW) * stride + c;
  store_chunk(t[0] - t[2], to);
  store_chunk(t[1] + t[2], to + stride);
  store_chunk(t[2] - t[1], to + 2 * stride);
  store_chunk(t[1] - t[3], to + 3 * stride);
}

void transform_picture(const WinogradProblem& p, std::int64_t first, std::int64_t tiles,
                       const Scratch& scratch) {
  for (std::int64_t t = 0; t < tiles; ++t) {
    const Tile tile = tile_at(p, first + t);
    const Bf16* pixels[4][4];
    for (int i = 0; i < 4; ++i) {
      const std::int64_t row = tile.top + i - 1;
      for (int j = 0; j < 4; ++j) {
        const std::int64_t column = tile.left + j - 1;
        const bool inside = row >= 0 && row < p.height && column >= 0 && column < p.width;
        pixels[i][j] =
            inside ? p.x + ((tile.picture * p.height + row) * p.width + column) * p.in_channels
                   : scratch.zeros;
      }
    }
    Bf16* to = scratch.picture + t * p.in_channels;
    for (std::int64_t c = 0; c < p.in_channels; c += kChunk) {
      transform_row<0>(pixels, c, to, scratch.picture_stride);
      transform_row<1>(pixels, c, to, scratch.picture_stride);
      transform_row<2>(pixels, c, to, scratch.picture_stride);
      transform_row<3>(pixels, c, to, scratch.picture_stride);
    }
  }
}

template <int ROWS>
inline void multiply_rows(const Bf16* a, std::int64_t a_stride, const Bf16* panel,
                          std::int64_t pairs, float* to) {
  __m512 sums[ROWS][kTileVectors];
  clear(sums);
  accumulate_tile(a, a_stride, panel, pairs, sums);
#pragma GCC unroll 6
  for (int r = 0; r < ROWS; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < kTileVectors; ++v) {
      _mm512_storeu_ps(to + r * kPanelColumns + v * kVectorLanes, sums[r][v]);
    }
  }
}

/// products [rows, 64] = a [rows, in] · panel.
void multiply(const Bf16* a, std::int64_t in, std::int64_t rows, const Bf16* panel,
              float* products) {
  const std::int64_t pairs = in / 2;
  std::int64_t r = 0;
  for (; r + kTileRows <= rows; r += kTileRows) {
    multiply_rows<kTileRows>(a + r * in, in, panel, pairs, products + r * kPanelColumns);
  }
  a += r * in;
  products += r * kPanelColumns;
  switch (rows - r) {
    case 5:
      return multiply_rows<5>(a, in, panel, pairs, products);
    case 4:
      return multiply_rows<4>(a, in, panel, pairs, products);
    case 3:
      return multiply_rows<3>(a, in, panel, pairs, products);
    case 2:
      return multiply_rows<2>(a, in, panel, pairs, products);
    case 1:
      return multiply_rows<1>(a, in, panel, pairs, products);
    default:
      return;
  }
}

/// Aᵀ m A of one vector of output channels, Aᵀ = [1 1 1 0; 0 1 -1 -1].
inline void transform_back(const float* m, std::int64_t stride, __m512 (&out)[2][2]) {
  __m512 rows[2][4];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512 m0 = _mm512_loadu_ps(m + j * stride), m1 = _mm512_loadu_ps(m + (4 + j) * stride);
    const __m512 m2 = _mm512_loadu_ps(m + (8 + j) * stride),
                 m3 = _mm512_loadu_ps(m + (12 + j) * stride);
    rows[0][j] = _mm512_add_ps(_mm512_add_ps(m0, m1), m2);
    rows[1][j] = _mm512_sub_ps(_mm512_sub_ps(m1, m2), m3);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    out[i][0] = _mm512_add_ps(_mm512_add_ps(rows[i][0], rows[i][1]), rows[i][2]);
    out[i][1] = _mm512_sub_ps(_mm512_sub_ps(rows[i][1], rows[i][2]), rows[i][3]);
  }
}

void finish_tiles(const WinogradProblem& p, std::int64_t first, std::int64_t tiles,
                  std::int64_t column, const Scratch& scratch) {
  for (std::int64_t t = 0; t < tiles; ++t) {
    const Tile tile = tile_at(p, first + t);
    const std::int64_t rows = std::min<std::int64_t>(2, p.height - tile.top);
    const std::int64_t columns = std::min<std::int64_t>(2, p.width - tile.left);
    const std::int64_t origin =
        ((tile.picture * p.height + tile.top) * p.width + tile.left) * p.out_channels + column;
    for (std::int64_t c = 0; c < kPanelColumns; c += kVectorLanes) {
      __m512 out[2][2];
      transform_back(scratch.products + t * kPanelColumns + c, scratch.product_stride, out);
      const __m512 bias = p.bias ? _mm512_loadu_ps(p.bias + column + c) : _mm512_setzero_ps();
      for (std::int64_t i = 0; i < rows; ++i) {
        for (std::int64_t j = 0; j < columns; ++j) {
          const std::int64_t at = origin + (i * p.width + j) * p.out_channels + c;
          __m512 value = activate(_mm512_add_ps(out[i][j], bias), p.activation);
          if (p.residual) {
            value = _mm512_add_ps(
                value,
                widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p.residual + at))));
          }
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(p.y + at), narrow(value));
        }
      }
    }
  }
}

/// G g Gᵀ, G = [1 0 0; ½ ½ ½; ½ -½ ½; 0 0 1], of 16 kernels at once.
void transform_kernel(const __m512 (&g)[9], __m512 (&u)[kPoints]) {
  const __m512 half = _mm512_set1_ps(0.5f);
  const auto four = [half](__m512 a, __m512 b, __m512 c, __m512& r0, __m512& r1, __m512& r2,
                           __m512& r3) {
    const __m512 outer = _mm512_mul_ps(_mm512_add_ps(a, c), half);
    const __m512 inner = _mm512_mul_ps(b, half);
    r0 = a;
    r1 = _mm512_add_ps(outer, inner);
    r2 = _mm512_sub_ps(outer, inner);
    r3 = c;
  };
  __m512 t[4][3];
  for (int j = 0; j < 3; ++j) four(g[j], g[3 + j], g[6 + j], t[0][j], t[1][j], t[2][j], t[3][j]);
  for (int i = 0; i < 4; ++i) {
    four(t[i][0], t[i][1], t[i][2], u[4 * i], u[4 * i + 1], u[4 * i + 2], u[4 * i + 3]);
  }
}

}  // namespace

std::size_t winograd_weight_bytes(std::int64_t in_channels, std::int64_t out_channels) {
  return static_cast<std::size_t>(kPoints * in_channels * out_channels) * sizeof(Bf16);
}

void winograd_pack(const float* panel_values, std::int64_t in_channels, std::int64_t begin,
                   std::int64_t end, std::uint16_t* packed) {
  const __m512i lanes =
      _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                         _mm512_set1_epi32(static_cast<int>(9 * in_channels)));
  const std::int64_t point_stride = in_channels * kPanelColumns;
  for (std::int64_t panel = begin; panel < end; ++panel) {
    const float* values = panel_values + (panel - begin) * kPanelColumns * in_channels * 9;
    Bf16* to = packed + panel * kPoints * point_stride;
    for (std::int64_t pair = 0; pair < in_channels / 2; ++pair) {
      for (std::int64_t c = 0; c < kPanelColumns; c += kVectorLanes) {
        __m512 u[2][kPoints];
        for (int side = 0; side < 2; ++side) {
          const float* from = values + (c * in_channels + channel_at(2 * pair + side)) * 9;
          __m512 g[9];
          for (int i = 0; i < 9; ++i) g[i] = _mm512_i32gather_ps(lanes, from + i, sizeof(float));
          transform_kernel(g, u[side]);
        }
        for (int point = 0; point < kPoints; ++point) {
          const __m512i low = _mm512_cvtepu16_epi32(narrow(u[0][point]));
          const __m512i high = _mm512_cvtepu16_epi32(narrow(u[1][point]));
          _mm512_storeu_si512(to + point * point_stride + pair * kPairElements + 2 * c,
                              _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
        }
      }
    }
  }
}

std::size_t winograd_scratch_bytes(const WinogradProblem& problem, std::int64_t block_tiles) {
  const Scratch parts = scratch_parts(problem, block_tiles, nullptr);
  return reinterpret_cast<std::size_t>(parts.zeros + problem.in_channels);
}

void winograd_tiles(const WinogradProblem& problem, std::int64_t tile_begin, std::int64_t tile_end,
                    std::int64_t panel_begin, std::int64_t panel_end, std::int64_t block_tiles,
                    std::byte* memory) {
  const Scratch scratch = scratch_parts(problem, block_tiles, memory);
  std::fill_n(scratch.zeros, problem.in_channels, Bf16{0});
  const std::int64_t point_size = problem.in_channels * kPanelColumns;
  for (std::int64_t first = tile_begin; first < tile_end; first += block_tiles) {
    const std::int64_t tiles = std::min(block_tiles, tile_end - first);
    transform_picture(problem, first, tiles, scratch);
    for (std::int64_t panel = panel_begin; panel < panel_end; ++panel) {
      for (int point = 0; point < kPoints; ++point) {
        multiply(scratch.picture + point * scratch.picture_stride, problem.in_channels, tiles,
                 problem.weight + (panel * kPoints + point) * point_size,
                 scratch.products + point * scratch.product_stride);
      }
      finish_tiles(problem, first, tiles, panel * kPanelColumns, scratch);
    }
  }
}

}  // namespace velatura::backend::cpu::kernels

#include "backend/cpu/kernels/avx512_bf16_end.h"

#endif
