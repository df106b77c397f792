// Flash attention in f32 on any CPU that Highway knows, for f32 tensors and for bf16 ones that are
// widened as they are packed. Blocks and layouts are those of attention_avx512_bf16.cc with one
// element where it has a pair. Highway compiles this file once a target; the fastest one the CPU
// has is chosen at run time. Vectors of a size known at run time only (SVE, RVV) cannot lie in
// arrays and are left to the targets of fixed size.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "backend/cpu/kernels/attention.h"
#include "base/half.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/kernels/attention_float.cc"
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace velatura::backend::cpu::kernels {
namespace HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using I = hn::RebindToSigned<D>;
using V = hn::Vec<D>;

constexpr std::int64_t kLanes = static_cast<std::int64_t>(HWY_LANES(float));
/// Accumulators of a tile: all registers but those for the vectors of queries, a broadcast and a
/// spare.
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_SSE4 || HWY_TARGET == HWY_SSSE3
constexpr int kTile = 4;  // 16 registers: 4 × 3 + 3 + 1
#else
constexpr int kTile = 8;  // 32 registers: 8 × 3 + 3 + 1
#endif
constexpr int kMaxVectors = 3;
constexpr std::int64_t kQueryBlock = kLanes * kMaxVectors;
constexpr std::int64_t kKeyBlock = 64;

std::int64_t round_up(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}
std::int64_t padded_width(const AttentionProblem& p) {
  return round_up(p.width, kTile);
}
std::int64_t padded_keys(const AttentionProblem& p) {
  return round_up(p.keys, kKeyBlock);
}

/// Keys: [tile of keys][element][key of the tile]. Values: [block of keys][tile of
/// columns][key][column of the tile]. Everything beyond the real sizes is zero.
struct Packed {
  float* keys;
  float* values;
};
Packed packed_parts(const AttentionProblem& p, std::byte* packed) {
  float* keys = reinterpret_cast<float*>(packed);
  return {keys, keys + padded_keys(p) * p.width};
}

/// Queries [element][query], unnormalised results [column][query], weights of a key block
/// [key][query].
struct Scratch {
  float* queries;
  float* sums;
  float* weights;
};
Scratch scratch_parts(const AttentionProblem& p, std::byte* scratch) {
  float* queries = reinterpret_cast<float*>(scratch);
  float* sums = queries + p.width * kQueryBlock;
  return {queries, sums, sums + padded_width(p) * kQueryBlock};
}

std::size_t packed_bytes(const AttentionProblem& p) {
  return static_cast<std::size_t>(padded_keys(p) * (p.width + padded_width(p))) * sizeof(float);
}
std::size_t scratch_bytes(const AttentionProblem& p) {
  const std::int64_t floats = (p.width + padded_width(p) + kKeyBlock) * kQueryBlock;
  return static_cast<std::size_t>(round_up(floats, 16)) * sizeof(float);
}

float widen(float value) {
  return value;
}
float widen(std::uint16_t value) {
  return bf16_to_float(value);
}
void narrow(float value, float& to) {
  to = value;
}
void narrow(float value, std::uint16_t& to) {
  to = float_to_bf16(value);
}

template <typename T>
void pack(const AttentionProblem& p, const void* k, const void* v, std::int64_t block,
          std::byte* packed) {
  const Packed parts = packed_parts(p, packed);
  const std::int64_t begin = block * kKeyBlock;
  float* values = parts.values + begin * padded_width(p);
  for (std::int64_t i = 0; i < kKeyBlock; ++i) {
    const std::int64_t key = begin + i;
    const bool real = key < p.keys;
    const T* key_row = static_cast<const T*>(k) + key * p.row_stride;
    const T* value_row = static_cast<const T*>(v) + key * p.row_stride;
    float* key_to = parts.keys + key / kTile * kTile * p.width + key % kTile;
    for (std::int64_t c = 0; c < p.width; ++c) {
      key_to[c * kTile] = real ? widen(key_row[c]) : 0.0f;
    }
    for (std::int64_t c = 0; c < padded_width(p); ++c) {
      values[(c / kTile * kKeyBlock + i) * kTile + c % kTile] =
          real && c < p.width ? widen(value_row[c]) : 0.0f;
    }
  }
}

/// 2^t for t <= kHeadroom; below −126 it stays at 2^−126, which no sum notices. Degree 6 on [−½,
/// ½], minimax in the relative sense: error 1.9e-9, below the rounding of its own arithmetic.
HWY_INLINE V exp2_clamped(V t) {
  const D d;
  const I i;
  const V shifter = hn::Set(d, 0x1.8p23f);  // adding it rounds t to an integer in the low bits
  t = hn::Max(t, hn::Set(d, -126.0f));
  const V shifted = hn::Add(t, shifter);
  const V f = hn::Sub(t, hn::Sub(shifted, shifter));
  V power = hn::MulAdd(f, hn::Set(d, 0x1.41d334p-13f), hn::Set(d, 0x1.5f456ap-10f));
  power = hn::MulAdd(f, power, hn::Set(d, 0x1.3b2dbcp-7f));
  power = hn::MulAdd(f, power, hn::Set(d, 0x1.c6aed4p-5f));
  power = hn::MulAdd(f, power, hn::Set(d, 0x1.ebfbdap-3f));
  power = hn::MulAdd(f, power, hn::Set(d, 0x1.62e430p-1f));
  power = hn::MulAdd(f, power, hn::Set(d, 1.0f));
  return hn::BitCast(d, hn::Add(hn::BitCast(i, power), hn::ShiftLeft<23>(hn::BitCast(i, shifted))));
}

/// The softmax state of kLanes · N queries.
template <int N>
struct State {
  V reference[N];  ///< integers (or −∞ before the first keys), in units of log2
  V total[N];
  V last_visible[N];         ///< index of the last key a query sees, exact below 2^24 keys
  std::int64_t all_visible;  ///< keys below this are seen by all queries
  V scale;                   ///< |scale| · log2(e)
};

/// q·k of the keys of one tile from `key` on, −∞ where a query must not see a key (`masked` says
/// that there are such).
template <int N, bool masked>
HWY_INLINE void tile_scores(const float* queries, const float* keys, std::int64_t width,
                            std::int64_t key, const State<N>& state, V (&highest)[N],
                            float* scores) {
  const D d;
  V sum[kTile][N];
  HWY_UNROLL(8)
  for (int m = 0; m < kTile; ++m) {
    HWY_UNROLL(3)
    for (int n = 0; n < N; ++n) sum[m][n] = hn::Zero(d);
  }
  for (std::int64_t c = 0; c < width; ++c) {
    V query[N];
    HWY_UNROLL(3)
    for (int n = 0; n < N; ++n) query[n] = hn::Load(d, queries + n * kLanes);
    HWY_UNROLL(8)
    for (int m = 0; m < kTile; ++m) {
      const V element = hn::Set(d, keys[m]);
      HWY_UNROLL(3)
      for (int n = 0; n < N; ++n) sum[m][n] = hn::MulAdd(query[n], element, sum[m][n]);
    }
    queries += N * kLanes;
    keys += kTile;
  }
  HWY_UNROLL(8)
  for (int m = 0; m < kTile; ++m) {
    HWY_UNROLL(3)
    for (int n = 0; n < N; ++n) {
      if (masked) {
        sum[m][n] =
            hn::IfThenElse(hn::Ge(state.last_visible[n], hn::Set(d, static_cast<float>(key + m))),
                           sum[m][n], hn::Set(d, -std::numeric_limits<float>::infinity()));
      }
      highest[n] = hn::Max(highest[n], sum[m][n]);
      hn::Store(sum[m][n], d, scores + (m * N + n) * kLanes);
    }
  }
}

/// Raises the references to `highest` where it exceeds one by more than kHeadroom, and rescales
/// what was summed so far.
template <int N>
HWY_INLINE void raise_references(const V (&highest)[N], std::int64_t width, State<N>& state,
                                 float* sums) {
  const D d;
  for (int n = 0; n < N; ++n) {
    const V score = hn::Mul(highest[n], state.scale);
    const auto high = hn::Gt(hn::Sub(score, state.reference[n]), hn::Set(d, kHeadroom));
    if (hn::AllFalse(d, high)) continue;
    const V raised = hn::IfThenElse(high, hn::Ceil(score), state.reference[n]);
    // An exact power of two, or zero where the old sums are beyond notice (and before the first
    // keys).
    const V by = hn::IfThenElseZero(high, hn::Sub(state.reference[n], raised));
    const V factor = hn::IfThenElseZero(hn::Ge(by, hn::Set(d, -126.0f)), exp2_clamped(by));
    state.reference[n] = raised;
    state.total[n] = hn::Mul(state.total[n], factor);
    for (std::int64_t column = 0; column < width; ++column) {
      float* at = sums + (column * N + n) * kLanes;
      hn::Store(hn::Mul(hn::Load(d, at), factor), d, at);
    }
  }
}

/// Weights of keys [begin, end) of a block, into `scratch.weights`.
template <int N>
HWY_INLINE void weigh_block(const AttentionProblem& p, const float* keys, std::int64_t begin,
                            std::int64_t end, State<N>& state, const Scratch& scratch) {
  const D d;
  V highest[N];
  for (int n = 0; n < N; ++n) {
    highest[n] = hn::Set(d, -std::numeric_limits<float>::infinity());
  }
  for (std::int64_t key = begin; key < end; key += kTile) {
    const float* tile = keys + key * p.width;
    float* to = scratch.weights + (key - begin) * N * kLanes;
    if (key + kTile <= state.all_visible) {
      tile_scores<N, false>(scratch.queries, tile, p.width, key, state, highest, to);
    } else {
      tile_scores<N, true>(scratch.queries, tile, p.width, key, state, highest, to);
    }
  }
  raise_references<N>(highest, padded_width(p), state, scratch.sums);
  float* at = scratch.weights;
  for (std::int64_t key = begin; key < end; ++key) {
    HWY_UNROLL(3)
    for (int n = 0; n < N; ++n) {
      const V weight = exp2_clamped(hn::MulSub(hn::Load(d, at), state.scale, state.reference[n]));
      state.total[n] = hn::Add(state.total[n], weight);
      hn::Store(weight, d, at);
      at += kLanes;
    }
  }
}

/// sums += weights · values over `count` keys; `values` points at the first key of the first column
/// tile.
template <int N>
void add_values(const float* weights, const float* values, std::int64_t count, std::int64_t width,
                float* sums) {
  const D d;
  for (std::int64_t column = 0; column < width; column += kTile) {
    float* to = sums + column * N * kLanes;
    V sum[kTile][N];
    HWY_UNROLL(8)
    for (int c = 0; c < kTile; ++c) {
      HWY_UNROLL(3)
      for (int n = 0; n < N; ++n) sum[c][n] = hn::Load(d, to + (c * N + n) * kLanes);
    }
    const float* weight_at = weights;
    const float* value_at = values;
    for (std::int64_t key = 0; key < count; ++key) {
      V weight[N];
      HWY_UNROLL(3)
      for (int n = 0; n < N; ++n) weight[n] = hn::Load(d, weight_at + n * kLanes);
      HWY_UNROLL(8)
      for (int c = 0; c < kTile; ++c) {
        const V value = hn::Set(d, value_at[c]);
        HWY_UNROLL(3)
        for (int n = 0; n < N; ++n) sum[c][n] = hn::MulAdd(weight[n], value, sum[c][n]);
      }
      weight_at += N * kLanes;
      value_at += kTile;
    }
    HWY_UNROLL(8)
    for (int c = 0; c < kTile; ++c) {
      HWY_UNROLL(3)
      for (int n = 0; n < N; ++n) hn::Store(sum[c][n], d, to + (c * N + n) * kLanes);
    }
    values += kKeyBlock * kTile;
  }
}

template <int N, typename T>
void attend_vectors(const AttentionProblem& p, const T* q, const Packed& packed, std::int64_t first,
                    std::int64_t rows, const Scratch& scratch, T* y) {
  const D d;
  const std::int64_t seen = p.causal ? std::min(p.keys, first + rows) : p.keys;
  const std::int64_t lanes = N * kLanes;
  State<N> state;
  state.all_visible = p.causal ? std::min(p.keys, first + 1) : p.keys;
  state.scale = hn::Set(d, std::abs(p.scale) * 0x1.715476p+0f);  // log2(e)
  const V last_key = hn::Set(d, static_cast<float>(p.keys - 1));
  for (int n = 0; n < N; ++n) {
    const V query = hn::Iota(d, static_cast<float>(first + n * kLanes));
    state.last_visible[n] = p.causal ? hn::Min(query, last_key) : last_key;
    state.reference[n] = hn::Set(d, -std::numeric_limits<float>::infinity());
    state.total[n] = hn::Zero(d);
  }
  std::fill_n(scratch.sums, padded_width(p) * lanes, 0.0f);
  std::fill_n(scratch.queries, p.width * lanes, 0.0f);
  // A negative scale goes into the queries, so that the highest product is the highest score.
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t c = 0; c < p.width; ++c) {
      const float value = widen(q[row * p.row_stride + c]);
      scratch.queries[c * lanes + row] = p.scale < 0 ? -value : value;
    }
  }

  for (std::int64_t key = 0; key < seen; key += kKeyBlock) {
    const std::int64_t end =
        std::min(key + kKeyBlock, round_up(seen, static_cast<std::int64_t>(kTile)));
    weigh_block<N>(p, packed.keys, key, end, state, scratch);
    add_values<N>(scratch.weights, packed.values + key * padded_width(p), end - key,
                  padded_width(p), scratch.sums);
  }

  float inverse[kQueryBlock];
  for (int n = 0; n < N; ++n) {
    hn::StoreU(hn::Div(hn::Set(d, 1.0f), state.total[n]), d, inverse + n * kLanes);
  }
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t c = 0; c < p.width; ++c) {
      narrow(scratch.sums[c * lanes + row] * inverse[row], y[row * p.row_stride + c]);
    }
  }
}

template <typename T>
void attend(const AttentionProblem& p, const void* q, const std::byte* packed, std::int64_t first,
            std::int64_t rows, std::byte* scratch, void* y) {
  const Packed parts = packed_parts(p, const_cast<std::byte*>(packed));
  const Scratch memory = scratch_parts(p, scratch);
  const T* queries = static_cast<const T*>(q) + first * p.row_stride;
  T* results = static_cast<T*>(y) + first * p.row_stride;
  if (rows <= kLanes) return attend_vectors<1>(p, queries, parts, first, rows, memory, results);
  if (rows <= 2 * kLanes) return attend_vectors<2>(p, queries, parts, first, rows, memory, results);
  attend_vectors<3>(p, queries, parts, first, rows, memory, results);
}

template <typename T>
constexpr AttentionKernel kKernel{.query_block = kQueryBlock,
                                  .key_block = kKeyBlock,
                                  .packed_bytes = packed_bytes,
                                  .scratch_bytes = scratch_bytes,
                                  .pack = pack<T>,
                                  .attend = attend<T>};

const AttentionKernel* f32_kernel() {
  return &kKernel<float>;
}
const AttentionKernel* bf16_kernel() {
  return &kKernel<std::uint16_t>;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace velatura::backend::cpu::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace velatura::backend::cpu::kernels {

HWY_EXPORT(f32_kernel);
HWY_EXPORT(bf16_kernel);

const AttentionKernel& f32_attention() {
  return *HWY_DYNAMIC_DISPATCH(f32_kernel)();
}
const AttentionKernel& converted_bf16_attention() {
  return *HWY_DYNAMIC_DISPATCH(bf16_kernel)();
}

}  // namespace velatura::backend::cpu::kernels
#endif
