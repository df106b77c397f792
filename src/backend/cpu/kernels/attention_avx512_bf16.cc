// Flash attention on bf16 dot products (vdpbf16ps: each 32-bit lane takes two neighbouring bf16
// products).
//
// Scores: 8 keys × 48 queries in 24 registers; a key's pair of elements is broadcast, the queries'
// pairs are packed [pair][query]. Products with the values: 8 columns × 48 queries, a value's pair
// of neighbouring keys is broadcast. Both need 11 loads for 24 dot products, so the dot products
// alone set the pace (measured on Zen 4: 1.01 cycles each).
#include "backend/cpu/kernels/attention.h"

#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <limits>

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12's own header initialises "undefined" registers with themselves (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include "backend/cpu/kernels/avx512_bf16_begin.h"

namespace velatura::backend::cpu::kernels {
namespace {

using Bf16 = std::uint16_t;
using Pair = std::uint32_t;  ///< two bf16, the first in the low half

constexpr std::int64_t kLanes = 16;
constexpr int kMaxVectors = 3;
constexpr std::int64_t kQueryBlock = kLanes * kMaxVectors;
constexpr std::int64_t kKeyTile = 8;
constexpr std::int64_t kColumnTile = 8;
/// The scores of a block (96 × 48 f32, 18 KiB) stay in the first-level cache until they are
/// weights; measured at head width 40: 50.6 cycles for 16 scores, with blocks of 64 or 128
/// keys 50.9.
constexpr std::int64_t kKeyBlock = 96;

std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}
std::int64_t pairs_of(const AttentionProblem& p) {
  return (p.width + 1) / 2;
}
std::int64_t padded_width(const AttentionProblem& p) {
  return round_up(p.width, kColumnTile);
}
std::int64_t padded_keys(const AttentionProblem& p) {
  return round_up(p.keys, kKeyBlock);
}

/// Keys: [tile of 8 keys][pair of elements][8 keys]. Values behind them:
/// [block of keys][tile of 8 columns][pair of keys][8 columns]. Everything beyond the real sizes
/// is zero.
struct Packed {
  Pair* keys;
  Pair* values;
};
Packed packed_parts(const AttentionProblem& p, std::byte* packed) {
  Pair* keys = reinterpret_cast<Pair*>(packed);
  return {keys, keys + padded_keys(p) * pairs_of(p)};
}

/// One thread's memory: packed queries [pair][query], unnormalised results [column][query], weights
/// of a key block [pair of keys][query]; `query` runs over vectors · kLanes.
struct Scratch {
  Pair* queries;
  float* sums;
  Pair* weights;
};
Scratch scratch_parts(const AttentionProblem& p, std::byte* scratch) {
  Pair* queries = reinterpret_cast<Pair*>(scratch);
  float* sums = reinterpret_cast<float*>(queries + pairs_of(p) * kQueryBlock);
  return {queries, sums, reinterpret_cast<Pair*>(sums + round_up(p.width, kLanes) * kQueryBlock)};
}

std::size_t packed_bytes(const AttentionProblem& p) {
  return static_cast<std::size_t>(padded_keys(p) * (pairs_of(p) + padded_width(p) / 2)) *
         sizeof(Pair);
}
std::size_t scratch_bytes(const AttentionProblem& p) {
  return static_cast<std::size_t>((pairs_of(p) + round_up(p.width, kLanes) + kKeyBlock) *
                                  kQueryBlock) *
         sizeof(Pair);
}

/// Transposes 16 × 16 lanes of 32 bits in place.
inline void transpose(__m512i (&rows)[16]) {
  __m512i pairs[16], quads[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    quads[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
    quads[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
    quads[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
    quads[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
  }
  // quads[4g + c] now holds, in its 128-bit part p, column 4p + c of rows 4g … 4g + 3.
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m512i low01 = _mm512_shuffle_i32x4(quads[c], quads[4 + c], 0x44);
    const __m512i high01 = _mm512_shuffle_i32x4(quads[c], quads[4 + c], 0xee);
    const __m512i low23 = _mm512_shuffle_i32x4(quads[8 + c], quads[12 + c], 0x44);
    const __m512i high23 = _mm512_shuffle_i32x4(quads[8 + c], quads[12 + c], 0xee);
    rows[c] = _mm512_shuffle_i32x4(low01, low23, 0x88);
    rows[4 + c] = _mm512_shuffle_i32x4(low01, low23, 0xdd);
    rows[8 + c] = _mm512_shuffle_i32x4(high01, high23, 0x88);
    rows[12 + c] = _mm512_shuffle_i32x4(high01, high23, 0xdd);
  }
}

/// Pairs [first, first + 16) of up to 16 rows, as [pair][row]; zero beyond `count` rows and `width`
/// elements.
inline void load_transposed(const Bf16* rows, std::int64_t row_stride, std::int64_t count,
                            std::int64_t width, std::int64_t first, __m512i (&out)[16]) {
  const std::int64_t left = width - 2 * first;
  const __mmask32 mask = left >= 32 ? ~__mmask32{0} : (__mmask32{1} << left) - 1;
  for (std::int64_t i = 0; i < 16; ++i) {
    out[i] = i < count ? _mm512_maskz_loadu_epi16(mask, rows + i * row_stride + 2 * first)
                       : _mm512_setzero_si512();
  }
  transpose(out);
}

void pack_keys(const AttentionProblem& p, const Bf16* k, std::int64_t block, Pair* keys) {
  const std::int64_t pairs = pairs_of(p);
  for (std::int64_t key = block * kKeyBlock; key < (block + 1) * kKeyBlock; key += 16) {
    const std::int64_t count = std::clamp<std::int64_t>(p.keys - key, 0, 16);
    Pair* low = keys + key * pairs;
    Pair* high = low + kKeyTile * pairs;
    for (std::int64_t first = 0; first < pairs; first += 16) {
      __m512i columns[16];
      load_transposed(k + key * p.row_stride, p.row_stride, count, p.width, first, columns);
      for (std::int64_t i = 0; i < std::min<std::int64_t>(16, pairs - first); ++i) {
        const std::int64_t at = (first + i) * kKeyTile;
        _mm256_store_si256(reinterpret_cast<__m256i*>(low + at),
                           _mm512_castsi512_si256(columns[i]));
        _mm256_store_si256(reinterpret_cast<__m256i*>(high + at),
                           _mm512_extracti64x4_epi64(columns[i], 1));
      }
    }
  }
}

void pack_values(const AttentionProblem& p, const Bf16* v, std::int64_t block, Pair* values) {
  const std::int64_t tiles = padded_width(p) / kColumnTile;
  Pair* to_block = values + block * kKeyBlock / 2 * padded_width(p);
  for (std::int64_t pair = 0; pair < kKeyBlock / 2; ++pair) {
    const std::int64_t key = block * kKeyBlock + 2 * pair;
    for (std::int64_t tile = 0; tile < tiles; ++tile) {
      const std::int64_t left = std::min(kColumnTile, p.width - tile * kColumnTile);
      const auto mask = static_cast<__mmask8>((1u << left) - 1);
      const Bf16* row = v + key * p.row_stride + tile * kColumnTile;
      const __m128i even = key < p.keys ? _mm_maskz_loadu_epi16(mask, row) : _mm_setzero_si128();
      const __m128i odd =
          key + 1 < p.keys ? _mm_maskz_loadu_epi16(mask, row + p.row_stride) : _mm_setzero_si128();
      auto* to = reinterpret_cast<__m128i*>(to_block + (tile * kKeyBlock / 2 + pair) * kColumnTile);
      _mm_store_si128(to, _mm_unpacklo_epi16(even, odd));
      _mm_store_si128(to + 1, _mm_unpackhi_epi16(even, odd));
    }
  }
}

void pack(const AttentionProblem& p, const void* k, const void* v, std::int64_t block,
          std::byte* packed) {
  const Packed parts = packed_parts(p, packed);
  pack_keys(p, static_cast<const Bf16*>(k), block, parts.keys);
  pack_values(p, static_cast<const Bf16*>(v), block, parts.values);
}

/// A constant that stays in a register: GCC otherwise reads it from memory at each use, and one
/// load a cycle then is what the exponential waits for.
inline __m512 register_of(float value) {
  __m512 vector = _mm512_set1_ps(value);
  __asm__("" : "+v"(vector));
  return vector;
}

/// 2^t for t <= kHeadroom; from −126 down it is subnormal, which the conversion to bf16 makes zero.
/// Cubic on [−½, ½], minimax in the relative sense: error 7.5e-5 = 2^−13.7, a fiftieth of the
/// rounding to bf16 that follows (one degree more would cost 2 % of the whole kernel at head width
/// 40).
struct Exp2ForBf16 {
  __m512 lowest, shifter, c3, c2, c1, c0;

  static Exp2ForBf16 make() {
    return {.lowest = register_of(-126.0f),
            .shifter = register_of(0x1.8p23f),  // adding it rounds t to an integer in the low bits
            .c3 = register_of(0x1.c3f76p-5f),
            .c2 = register_of(0x1.f0de1ap-3f),
            .c1 = register_of(0x1.62f31ap-1f),
            .c0 = register_of(0x1.fff692p-1f)};
  }

  /// Step by step for all `count` at once, so that neighbouring instructions do not wait for each
  /// other.
  template <int count>
  void operator()(__m512 (&t)[count]) const {
    __m512 shifted[count], power[count];
#pragma GCC unroll 6
    for (int i = 0; i < count; ++i) t[i] = _mm512_max_ps(t[i], lowest);
#pragma GCC unroll 6
    for (int i = 0; i < count; ++i) shifted[i] = _mm512_add_ps(t[i], shifter);
#pragma GCC unroll 6
    for (int i = 0; i < count; ++i) power[i] = _mm512_sub_ps(shifted[i], shifter);
#pragma GCC unroll 6
    for (int i = 0; i < count; ++i) t[i] = _mm512_sub_ps(t[i], power[i]);
#pragma GCC unroll 6
    for (int i = 0; i < count; ++i) power[i] = _mm512_fmadd_ps(t[i], c3, c2);
#pragma GCC unroll 6
    for (int i = 0; i < count; ++i) power[i] = _mm512_fmadd_ps(t[i], power[i], c1);
#pragma GCC unroll 6
    for (int i = 0; i < count; ++i) power[i] = _mm512_fmadd_ps(t[i], power[i], c0);
#pragma GCC unroll 6
    for (int i = 0; i < count; ++i) {
      const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(shifted[i]), 23);
      t[i] = _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(power[i]), exponent));
    }
  }
};

/// The softmax state of 16 · N queries.
template <int N>
struct State {
  __m512 reference[N];  ///< integers (or −∞ before the first keys), in units of log2
  __m512 total[N];
  __m512i last_visible[N];   ///< index of the last key a query sees
  std::int64_t all_visible;  ///< keys below this are seen by all queries
  __m512 scale;              ///< |scale| · log2(e)
};

/// q·k of the 8 keys from `key` on, −∞ where a query must not see a key (`masked` says that there
/// are such).
template <int N, bool masked>
inline void tile_scores(const Pair* queries, const Pair* keys, std::int64_t pairs, std::int64_t key,
                        const State<N>& state, __m512 (&highest)[N], float* scores) {
  __m512 sum[kKeyTile][N];
#pragma GCC unroll 8
  for (int m = 0; m < kKeyTile; ++m) {
#pragma GCC unroll 3
    for (int n = 0; n < N; ++n) sum[m][n] = _mm512_setzero_ps();
  }
  for (std::int64_t pair = 0; pair < pairs; ++pair) {
    __m512bh query[N];
#pragma GCC unroll 3
    for (int n = 0; n < N; ++n) query[n] = (__m512bh)_mm512_load_si512(queries + n * kLanes);
#pragma GCC unroll 8
    for (int m = 0; m < kKeyTile; ++m) {
      const __m512bh element = (__m512bh)_mm512_set1_epi32(static_cast<int>(keys[m]));
#pragma GCC unroll 3
      for (int n = 0; n < N; ++n) sum[m][n] = _mm512_dpbf16_ps(sum[m][n], query[n], element);
    }
    queries += N * kLanes;
    keys += kKeyTile;
  }
#pragma GCC unroll 8
  for (int m = 0; m < kKeyTile; ++m) {
#pragma GCC unroll 3
    for (int n = 0; n < N; ++n) {
      if (masked) {
        const __mmask16 visible = _mm512_cmpge_epi32_mask(
            state.last_visible[n], _mm512_set1_epi32(static_cast<int>(key + m)));
        sum[m][n] = _mm512_mask_mov_ps(_mm512_set1_ps(-std::numeric_limits<float>::infinity()),
                                       visible, sum[m][n]);
      }
      highest[n] = _mm512_max_ps(highest[n], sum[m][n]);
      _mm512_store_ps(scores + (m * N + n) * kLanes, sum[m][n]);
    }
  }
}

/// Raises the references to `highest` where it exceeds one by more than kHeadroom, and rescales
/// what was summed so far.
template <int N>
inline void raise_references(const __m512 (&highest)[N], std::int64_t width, State<N>& state,
                             float* sums) {
  for (int n = 0; n < N; ++n) {
    const __m512 score = _mm512_mul_ps(highest[n], state.scale);
    const __mmask16 high = _mm512_cmp_ps_mask(_mm512_sub_ps(score, state.reference[n]),
                                              _mm512_set1_ps(kHeadroom), _CMP_GT_OQ);
    if (!high) [[likely]]
      continue;
    const __m512 raised = _mm512_mask_roundscale_ps(state.reference[n], high, score,
                                                    _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
    const __m512 by = _mm512_mask_sub_ps(_mm512_setzero_ps(), high, state.reference[n], raised);
    state.reference[n] = raised;
    state.total[n] = _mm512_scalef_ps(state.total[n], by);
    for (std::int64_t column = 0; column < width; ++column) {
      float* at = sums + (column * N + n) * kLanes;
      _mm512_store_ps(at, _mm512_scalef_ps(_mm512_load_ps(at), by));
    }
  }
}

/// Scores [key][query] of `pairs` pairs of keys become weights [pair of keys][query], in place: a
/// pair of bf16 takes half the room of its scores and lies no later than they.
template <int N>
inline void weigh(std::int64_t pairs, State<N>& state, float* scores) {
  const __m512i interleave =
      _mm512_set_epi32(0x001f000f, 0x001e000e, 0x001d000d, 0x001c000c, 0x001b000b, 0x001a000a,
                       0x00190009, 0x00180008, 0x00170007, 0x00160006, 0x00150005, 0x00140004,
                       0x00130003, 0x00120002, 0x00110001, 0x00100000);
  const __m512bh ones = (__m512bh)_mm512_set1_epi32(0x3f803f80);
  const Exp2ForBf16 exp2 = Exp2ForBf16::make();
  float* weights = scores;
  for (std::int64_t pair = 0; pair < pairs; ++pair) {
    __m512 t[2 * N];  // of the even key, then of the odd one
#pragma GCC unroll 6
    for (int i = 0; i < 2 * N; ++i) {
      t[i] =
          _mm512_fmsub_ps(_mm512_load_ps(scores + i * kLanes), state.scale, state.reference[i % N]);
    }
    exp2(t);
#pragma GCC unroll 3
    for (int n = 0; n < N; ++n) {
      const __m512i weight =
          _mm512_permutexvar_epi16(interleave, (__m512i)_mm512_cvtne2ps_pbh(t[N + n], t[n]));
      // The rounded weights are summed: they then add up to one, and a lone key's value comes out
      // exactly.
      state.total[n] = _mm512_dpbf16_ps(state.total[n], (__m512bh)weight, ones);
      _mm512_store_si512(weights + n * kLanes, weight);
    }
    scores += 2 * N * kLanes;
    weights += N * kLanes;
  }
}

/// Weights of keys [begin, end) of a block, into `scratch.weights`.
template <int N>
inline void weigh_block(const AttentionProblem& p, const Pair* keys, std::int64_t begin,
                        std::int64_t end, State<N>& state, const Scratch& scratch) {
  const std::int64_t pairs = pairs_of(p);
  float* scores = reinterpret_cast<float*>(scratch.weights);
  __m512 highest[N];
  for (int n = 0; n < N; ++n) {
    highest[n] = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
  }
  for (std::int64_t key = begin; key < end; key += kKeyTile) {
    float* to = scores + (key - begin) * N * kLanes;
    if (key + kKeyTile <= state.all_visible) {
      tile_scores<N, false>(scratch.queries, keys + key * pairs, pairs, key, state, highest, to);
    } else {
      tile_scores<N, true>(scratch.queries, keys + key * pairs, pairs, key, state, highest, to);
    }
  }
  raise_references<N>(highest, padded_width(p), state, scratch.sums);
  weigh<N>((end - begin) / 2, state, scores);
}

/// sums += weights · values over `pairs` pairs of keys; `values` points at the first pair of the
/// first column tile.
template <int N>
void add_values(const Pair* weights, const Pair* values, std::int64_t pairs, std::int64_t width,
                float* sums) {
  for (std::int64_t column = 0; column < width; column += kColumnTile) {
    float* to = sums + column * N * kLanes;
    __m512 sum[kColumnTile][N];
#pragma GCC unroll 8
    for (int c = 0; c < kColumnTile; ++c) {
#pragma GCC unroll 3
      for (int n = 0; n < N; ++n) sum[c][n] = _mm512_load_ps(to + (c * N + n) * kLanes);
    }
    const Pair* weight_at = weights;
    const Pair* value_at = values;
    for (std::int64_t pair = 0; pair < pairs; ++pair) {
      __m512bh weight[N];
#pragma GCC unroll 3
      for (int n = 0; n < N; ++n) weight[n] = (__m512bh)_mm512_load_si512(weight_at + n * kLanes);
#pragma GCC unroll 8
      for (int c = 0; c < kColumnTile; ++c) {
        const __m512bh value = (__m512bh)_mm512_set1_epi32(static_cast<int>(value_at[c]));
#pragma GCC unroll 3
        for (int n = 0; n < N; ++n) sum[c][n] = _mm512_dpbf16_ps(sum[c][n], weight[n], value);
      }
      weight_at += N * kLanes;
      value_at += kColumnTile;
    }
#pragma GCC unroll 8
    for (int c = 0; c < kColumnTile; ++c) {
#pragma GCC unroll 3
      for (int n = 0; n < N; ++n) _mm512_store_ps(to + (c * N + n) * kLanes, sum[c][n]);
    }
    values += kKeyBlock / 2 * kColumnTile;
  }
}

/// A negative scale goes into the queries' signs, so that the highest product is the highest score.
template <int N>
void pack_queries(const AttentionProblem& p, const Bf16* q, std::int64_t rows, Pair* queries) {
  const std::int64_t pairs = pairs_of(p);
  const __m512i sign = _mm512_set1_epi32(p.scale < 0 ? static_cast<int>(0x80008000u) : 0);
  for (int n = 0; n < N; ++n) {
    for (std::int64_t first = 0; first < pairs; first += 16) {
      __m512i columns[16];
      load_transposed(q + n * kLanes * p.row_stride, p.row_stride, rows - n * kLanes, p.width,
                      first, columns);
      for (std::int64_t i = 0; i < std::min<std::int64_t>(16, pairs - first); ++i) {
        _mm512_store_si512(queries + ((first + i) * N + n) * kLanes,
                           _mm512_xor_si512(columns[i], sign));
      }
    }
  }
}

template <int N>
void store_results(const AttentionProblem& p, const State<N>& state, const float* sums,
                   std::int64_t rows, Bf16* y) {
  for (int n = 0; n < N; ++n) {
    const __m512 inverse = _mm512_div_ps(_mm512_set1_ps(1.0f), state.total[n]);
    const std::int64_t count = std::clamp<std::int64_t>(rows - n * kLanes, 0, kLanes);
    for (std::int64_t first = 0; first < p.width; first += kLanes) {
      const std::int64_t columns = std::min(kLanes, p.width - first);
      __m512i block[16];
      for (std::int64_t c = 0; c < kLanes; ++c) {  // `sums` has room for whole tiles of 16 columns
        block[c] = _mm512_castps_si512(
            _mm512_mul_ps(_mm512_load_ps(sums + ((first + c) * N + n) * kLanes), inverse));
      }
      transpose(block);
      const auto mask = static_cast<__mmask16>((1u << columns) - 1);
      for (std::int64_t row = 0; row < count; ++row) {
        Bf16* to = y + (n * kLanes + row) * p.row_stride + first;
        _mm256_mask_storeu_epi16(to, mask,
                                 (__m256i)_mm512_cvtneps_pbh(_mm512_castsi512_ps(block[row])));
      }
    }
  }
}

template <int N>
void attend_vectors(const AttentionProblem& p, const Bf16* q, const Packed& packed,
                    std::int64_t first, std::int64_t rows, const Scratch& scratch, Bf16* y) {
  const std::int64_t seen = p.causal ? std::min(p.keys, first + rows) : p.keys;
  State<N> state;
  state.all_visible = p.causal ? std::min(p.keys, first + 1) : p.keys;
  state.scale = _mm512_set1_ps(std::abs(p.scale) * 0x1.715476p+0f);  // log2(e)
  const __m512i lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  const __m512i last_key = _mm512_set1_epi32(static_cast<int>(p.keys - 1));
  for (int n = 0; n < N; ++n) {
    const __m512i query =
        _mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int>(first + n * kLanes)));
    state.last_visible[n] = p.causal ? _mm512_min_epi32(query, last_key) : last_key;
    state.reference[n] = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
    state.total[n] = _mm512_setzero_ps();
  }
  std::fill_n(scratch.sums, round_up(p.width, kLanes) * N * kLanes, 0.0f);
  pack_queries<N>(p, q, rows, scratch.queries);

  for (std::int64_t key = 0; key < seen; key += kKeyBlock) {
    const std::int64_t end = std::min(key + kKeyBlock, round_up(seen, kKeyTile));
    weigh_block<N>(p, packed.keys, key, end, state, scratch);
    add_values<N>(scratch.weights, packed.values + key / 2 * padded_width(p), (end - key) / 2,
                  padded_width(p), scratch.sums);
  }
  store_results<N>(p, state, scratch.sums, rows, y);
}

void attend(const AttentionProblem& p, const void* q, const std::byte* packed, std::int64_t first,
            std::int64_t rows, std::byte* scratch, void* y) {
  const Packed parts = packed_parts(p, const_cast<std::byte*>(packed));
  const Scratch memory = scratch_parts(p, scratch);
  const Bf16* queries = static_cast<const Bf16*>(q) + first * p.row_stride;
  Bf16* results = static_cast<Bf16*>(y) + first * p.row_stride;
  if (rows <= kLanes) return attend_vectors<1>(p, queries, parts, first, rows, memory, results);
  if (rows <= 2 * kLanes) return attend_vectors<2>(p, queries, parts, first, rows, memory, results);
  attend_vectors<3>(p, queries, parts, first, rows, memory, results);
}

constexpr AttentionKernel kKernel{.query_block = kQueryBlock,
                                  .key_block = kKeyBlock,
                                  .packed_bytes = packed_bytes,
                                  .scratch_bytes = scratch_bytes,
                                  .pack = pack,
                                  .attend = attend};

}  // namespace
}  // namespace velatura::backend::cpu::kernels

#include "backend/cpu/kernels/avx512_bf16_end.h"

namespace velatura::backend::cpu::kernels {

const AttentionKernel* avx512_bf16_attention() {
  const bool supported = __builtin_cpu_supports("avx512bf16") &&
                         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("bmi2") &&
                         __builtin_cpu_supports("fma");
  return supported ? &kKernel : nullptr;
}

}  // namespace velatura::backend::cpu::kernels

#else

namespace velatura::backend::cpu::kernels {
const AttentionKernel* avx512_bf16_attention() {
  return nullptr;
}
}  // namespace velatura::backend::cpu::kernels

#endif
