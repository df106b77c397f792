// The float kernel of kronecker.h, for types and processors that the bf16 kernel does not serve.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/kernels/kronecker.cc"
// clang-format off
#include <hwy/foreach_target.h>
// clang-format on
#include <hwy/highway.h>

#include <algorithm>

#include "backend/cpu/kernels/kronecker.h"
#include "backend/cpu/kernels/vectors-inl.h"
#include "base/half.h"

HWY_BEFORE_NAMESPACE();
namespace velatura::backend::cpu::HWY_NAMESPACE {

using kernels::KroneckerProblem;

/// At most 16 lanes, so that the padding of kKroneckerFloatColumns holds whole vectors.
using Lanes = hn::CappedTag<float, kernels::kKroneckerFloatColumns>;
using VL = hn::Vec<Lanes>;

/// a [rows, terms] times b [terms][columns], columns a multiple of 16; store(row, column, sums).
struct FloatProduct {
  const float* a;
  std::int64_t a_stride;
  std::int64_t terms;
  const float* b;
  std::int64_t columns;
};

template <typename Store>
HWY_INLINE void four_rows(const FloatProduct& p, std::int64_t row, std::int64_t column,
                          const Store& store) {
  const Lanes d;
  VL s0 = hn::Zero(d), s1 = hn::Zero(d), s2 = hn::Zero(d), s3 = hn::Zero(d);
  const float* a = p.a + row * p.a_stride;
  const float* b = p.b + column;
  for (std::int64_t k = 0; k < p.terms; ++k, ++a, b += p.columns) {
    const VL w = hn::LoadU(d, b);
    s0 = hn::MulAdd(hn::Set(d, a[0]), w, s0);
    s1 = hn::MulAdd(hn::Set(d, a[p.a_stride]), w, s1);
    s2 = hn::MulAdd(hn::Set(d, a[2 * p.a_stride]), w, s2);
    s3 = hn::MulAdd(hn::Set(d, a[3 * p.a_stride]), w, s3);
  }
  store(row, column, s0);
  store(row + 1, column, s1);
  store(row + 2, column, s2);
  store(row + 3, column, s3);
}

template <typename Store>
HWY_INLINE void one_row(const FloatProduct& p, std::int64_t row, std::int64_t column,
                        const Store& store) {
  const Lanes d;
  VL sum = hn::Zero(d);
  const float* a = p.a + row * p.a_stride;
  for (std::int64_t k = 0; k < p.terms; ++k) {
    sum = hn::MulAdd(hn::Set(d, a[k]), hn::LoadU(d, p.b + k * p.columns + column), sum);
  }
  store(row, column, sum);
}

template <typename Store>
HWY_INLINE void multiply_all(const FloatProduct& p, std::int64_t rows, const Store& store) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(Lanes()));
  for (std::int64_t column = 0; column < p.columns; column += lanes) {
    std::int64_t row = 0;
    for (; row + 4 <= rows; row += 4) four_rows(p, row, column, store);
    for (; row < rows; ++row) one_row(p, row, column, store);
  }
}

inline float value_of(float value) {
  return value;
}
inline float value_of(std::uint16_t bits) {
  return bf16_to_float(bits);
}
inline void put(float value, float* to) {
  *to = value;
}
inline void put(float value, std::uint16_t* to) {
  *to = float_to_bf16(value);
}

std::int64_t padded(std::int64_t columns) {
  constexpr std::int64_t kTo = kernels::kKroneckerFloatColumns;
  return (columns + kTo - 1) / kTo * kTo;
}

template <typename T>
void update_rows(const KroneckerProblem& p, const T* x, std::int64_t rows, T* y, float* scratch) {
  const auto& [out_l, in_m, out_k, in_n] = p.shape;
  const Lanes d;
  const std::int64_t x_columns = padded(in_n), y_columns = padded(out_k);
  float* between = scratch + in_m * x_columns;
  const std::int64_t between_columns = p.inner_first ? y_columns : x_columns;
  const auto keep = [&](std::int64_t row, std::int64_t column, VL sums)
                        HWY_ATTR { hn::StoreU(sums, d, between + row * between_columns + column); };
  HWY_ALIGN float sums[kernels::kKroneckerFloatColumns];
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  for (std::int64_t r = 0; r < rows; ++r, x += in_m * in_n, y += out_l * out_k) {
    const auto add = [&](std::int64_t row, std::int64_t column, VL values) HWY_ATTR {
      hn::Store(values, d, sums);
      T* to = y + row * out_k + column;
      const std::int64_t count = std::min(lanes, out_k - column);
      for (std::int64_t i = 0; i < count; ++i) put(value_of(to[i]) + p.scale * sums[i], to + i);
    };
    for (std::int64_t m = 0; m < in_m; ++m) {
      float* to = scratch + m * x_columns;
      for (std::int64_t n = 0; n < in_n; ++n) to[n] = value_of(x[m * in_n + n]);
      std::fill(to + in_n, to + x_columns, 0.0f);
    }
    const auto* w1 = static_cast<const float*>(p.w1);
    const auto* w2 = static_cast<const float*>(p.w2);
    if (p.inner_first) {
      multiply_all(FloatProduct{scratch, x_columns, in_n, w2, y_columns}, in_m, keep);
      multiply_all(FloatProduct{w1, in_m, in_m, between, y_columns}, out_l, add);
    } else {
      multiply_all(FloatProduct{w1, in_m, in_m, scratch, x_columns}, out_l, keep);
      multiply_all(FloatProduct{between, x_columns, in_n, w2, y_columns}, out_l, add);
    }
  }
}

void update_f32(const KroneckerProblem& p, const float* x, std::int64_t rows, float* y,
                float* scratch) {
  update_rows(p, x, rows, y, scratch);
}
void update_bf16(const KroneckerProblem& p, const std::uint16_t* x, std::int64_t rows,
                 std::uint16_t* y, float* scratch) {
  update_rows(p, x, rows, y, scratch);
}

}  // namespace velatura::backend::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace velatura::backend::cpu {

HWY_EXPORT(update_f32);
HWY_EXPORT(update_bf16);

namespace kernels {

std::size_t kronecker_float_scratch(const ops::KroneckerShape& s) {
  const auto up = [](std::int64_t n) {
    return (n + kKroneckerFloatColumns - 1) / kKroneckerFloatColumns * kKroneckerFloatColumns;
  };
  const std::int64_t between = std::max(s.in_m * up(s.out_k), s.out_l * up(s.in_n));
  return static_cast<std::size_t>(s.in_m * up(s.in_n) + between) * sizeof(float);
}

void kronecker_rows_f32(const KroneckerProblem& problem, const float* x, std::int64_t rows,
                        float* y, std::byte* scratch) {
  HWY_DYNAMIC_DISPATCH(update_f32)(problem, x, rows, y, reinterpret_cast<float*>(scratch));
}

void kronecker_rows_bf16_values(const KroneckerProblem& problem, const std::uint16_t* x,
                                std::int64_t rows, std::uint16_t* y, std::byte* scratch) {
  HWY_DYNAMIC_DISPATCH(update_bf16)(problem, x, rows, y, reinterpret_cast<float*>(scratch));
}

}  // namespace kernels
}  // namespace velatura::backend::cpu
#endif
