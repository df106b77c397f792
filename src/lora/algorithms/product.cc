// The product of two f32 matrices, which dense changes are made of. Here and not in a backend: a
// change is made once for an adapter, and bit for bit the same whatever backend runs the model.
#include <algorithm>
#include <cstdint>

#include "base/error.h"
#include "lora/algorithms/algorithm.h"

namespace velatura::lora {

namespace {

constexpr std::int64_t kRows = 32;      ///< of a task
constexpr std::int64_t kColumns = 512;  ///< of a task: four rows of b and of c stay in level 1
constexpr std::int64_t kGroup = 4;      ///< rows that share the rows of b just read
constexpr std::int64_t kDepth = 256;    ///< of a panel of b, which stays in level 2
constexpr double kWorthThreads = 1e5;   ///< multiplications

struct Operands {
  const float* a;
  const float* b;
  float* c;
  std::int64_t depth, columns;  ///< steps of a, of b and c
};

struct Range {
  std::int64_t begin, end;
};

/// c += a · b for a few rows. Four depths a pass, so that c is read and written a quarter as often;
/// their sum is formed first, which also rounds less than one after the other.
[[gnu::always_inline]] inline void add_group(const Operands& m, Range rows, Range depths,
                                             Range columns) {
  const std::int64_t width = columns.end - columns.begin;
  std::int64_t k = depths.begin;
  for (; k + 4 <= depths.end; k += 4) {
    const float* b0 = m.b + k * m.columns + columns.begin;
    const float* b1 = b0 + m.columns;
    const float* b2 = b1 + m.columns;
    const float* b3 = b2 + m.columns;
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      const float* a = m.a + row * m.depth + k;
      const float a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3];
      float* c = m.c + row * m.columns + columns.begin;
#pragma omp simd
      for (std::int64_t i = 0; i < width; ++i)
        c[i] += (a0 * b0[i] + a1 * b1[i]) + (a2 * b2[i] + a3 * b3[i]);
    }
  }
  for (; k < depths.end; ++k) {
    const float* b = m.b + k * m.columns + columns.begin;
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      const float a = m.a[row * m.depth + k];
      float* c = m.c + row * m.columns + columns.begin;
#pragma omp simd
      for (std::int64_t i = 0; i < width; ++i) c[i] += a * b[i];
    }
  }
}

[[gnu::always_inline]] inline void add_panel(const Operands& m, Range rows, Range depths,
                                             Range columns) {
  for (std::int64_t row = rows.begin; row < rows.end; row += kGroup)
    add_group(m, {row, std::min(row + kGroup, rows.end)}, depths, columns);
}

using Panel = void (*)(const Operands&, Range, Range, Range);

void add_panel_anywhere(const Operands& m, Range rows, Range depths, Range columns) {
  add_panel(m, rows, depths, columns);
}

#if defined(__x86_64__)
// The same operations in the same order, eight at once: no bit differs.
[[gnu::target("avx2")]] void add_panel_avx2(const Operands& m, Range rows, Range depths,
                                            Range columns) {
  add_panel(m, rows, depths, columns);
}
#endif

Panel fastest_panel() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2")) return add_panel_avx2;
#endif
  return add_panel_anywhere;
}

}  // namespace

Tensor product(const Tensor& a, const Tensor& b) {
  VELATURA_CHECK(a.rank() == 2 && b.rank() == 2 && a.size(1) == b.size(0));
  const std::int64_t rows = a.size(0), depth = a.size(1), columns = b.size(1);
  Tensor result = Tensor::zeros({rows, columns}, DType::f32);
  const Operands operands{a.data<float>(), b.data<float>(), result.mutable_data<float>(), depth,
                          columns};
  const Panel panel = fastest_panel();
  // Every element is summed by one task in one order: the number of threads changes no bit.
#pragma omp parallel for collapse(2)                                                         \
    schedule(dynamic) if (static_cast<double>(rows) * static_cast<double>(columns * depth) > \
                              kWorthThreads)
  for (std::int64_t row = 0; row < rows; row += kRows) {
    for (std::int64_t column = 0; column < columns; column += kColumns) {
      for (std::int64_t k = 0; k < depth; k += kDepth) {
        panel(operands, {row, std::min(row + kRows, rows)}, {k, std::min(k + kDepth, depth)},
              {column, std::min(column + kColumns, columns)});
      }
    }
  }
  return result;
}

}  // namespace velatura::lora
