#include "lora/algorithms/rotation.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/error.h"

namespace velatura::lora {

namespace {

/// Columns eliminated together, so that a row of the rest is fetched once for all of them.
constexpr std::int64_t kPanel = 32;

/// [I − Q | 2Q], b rows of 2b.
std::vector<double> augmented(std::span<const double> q, std::int64_t b) {
  std::vector<double> system(static_cast<std::size_t>(2 * b * b));
  for (std::int64_t i = 0; i < b; ++i) {
    double* row = system.data() + i * 2 * b;
    for (std::int64_t j = 0; j < b; ++j) {
      const double value = q[static_cast<std::size_t>(i * b + j)];
      row[j] = (i == j ? 1 : 0) - value;
      row[b + j] = 2 * value;
    }
  }
  return system;
}

void swap_largest_up(double* system, std::int64_t b, std::int64_t column) {
  const std::int64_t width = 2 * b;
  std::int64_t best = column;
  for (std::int64_t i = column + 1; i < b; ++i) {
    if (std::abs(system[i * width + column]) > std::abs(system[best * width + column])) best = i;
  }
  if (best != column)
    std::swap_ranges(system + best * width, system + (best + 1) * width, system + column * width);
}

/// Columns [begin, end) made triangular, the multipliers kept below the diagonal; other columns
/// change by swaps alone.
void factor_panel(double* system, std::int64_t b, std::int64_t begin, std::int64_t end) {
  const std::int64_t width = 2 * b;
  for (std::int64_t k = begin; k < end; ++k) {
    swap_largest_up(system, b, k);
    const double* pivot = system + k * width;
    for (std::int64_t i = k + 1; i < b; ++i) {
      double* row = system + i * width;
      row[k] /= pivot[k];
      for (std::int64_t j = k + 1; j < end; ++j) row[j] -= row[k] * pivot[j];
    }
  }
}

/// row[from, width) -= Σ multipliers[p] · source row p, p in [begin, end).
void subtract_rows(double* row, const double* multipliers, const double* system, std::int64_t width,
                   std::int64_t from, std::int64_t begin, std::int64_t end) {
  for (std::int64_t p = begin; p < end; ++p) {
    const double factor = multipliers[p];
    const double* source = system + p * width;
    for (std::int64_t j = from; j < width; ++j) row[j] -= factor * source[j];
  }
}

/// change[first, first + T) of the rows of one block += strength · block · gathered.
template <std::int64_t kTile>
void rotate_tile(const float* block, std::int64_t b, float strength, const float* gathered,
                 std::int64_t width, float* const* change) {
  // Partial sums of a few terms, added up in turn: the error grows with their number's root at
  // most.
  constexpr std::int64_t kTerms = 64;
  for (std::int64_t i = 0; i < b; ++i) {
    for (std::int64_t begin = 0; begin < b; begin += kTerms) {
      float sum[kTile] = {};
      for (std::int64_t j = begin; j < std::min(b, begin + kTerms); ++j) {
        const float factor = block[i * b + j];
        const float* row = gathered + j * kTile;
        for (std::int64_t c = 0; c < kTile; ++c) sum[c] += factor * row[c];
      }
      for (std::int64_t c = 0; c < width; ++c) change[i][c] += strength * sum[c];
    }
  }
}

}  // namespace

void cayley_minus_identity(std::span<double> q, std::int64_t b) {
  // (I − Q) X = 2Q, since Q commutes with (I − Q)⁻¹. Elimination with row pivots, a panel at a
  // time.
  std::vector<double> system = augmented(q, b);
  const std::int64_t width = 2 * b;
  for (std::int64_t begin = 0; begin < b; begin += kPanel) {
    const std::int64_t end = std::min(b, begin + kPanel);
    factor_panel(system.data(), b, begin, end);
    for (std::int64_t k = begin; k < end; ++k) {
      double* row = system.data() + k * width;
      subtract_rows(row, row, system.data(), width, end, begin, k);
    }
#pragma omp parallel for
    for (std::int64_t i = end; i < b; ++i) {
      double* row = system.data() + i * width;
      subtract_rows(row, row, system.data(), width, end, begin, end);
    }
  }
  for (std::int64_t k = b - 1; k >= 0; --k) {
    double* row = system.data() + k * width;
    subtract_rows(row, row, system.data(), width, b, k + 1, b);
    for (std::int64_t j = 0; j < b; ++j)
      q[static_cast<std::size_t>(k * b + j)] = row[b + j] /= row[k];
  }
}

void add_rotated_rows(const Tensor& blocks, RowOrder order, float strength,
                      std::span<const float> weight, std::span<float> change,
                      std::int64_t columns) {
  constexpr std::int64_t kTile = 64;
  const std::int64_t count = blocks.size(0), b = blocks.size(1);
  VELATURA_CHECK(change.size() == weight.size());
  VELATURA_CHECK(static_cast<std::int64_t>(weight.size()) == count * b * columns);
  const std::int64_t tiles = (columns + kTile - 1) / kTile;
#pragma omp parallel
  {
    std::vector<float> gathered(static_cast<std::size_t>(b * kTile), 0.0f);
    std::vector<float*> targets(static_cast<std::size_t>(b));
#pragma omp for collapse(2)
    for (std::int64_t d = 0; d < count; ++d) {
      for (std::int64_t tile = 0; tile < tiles; ++tile) {
        const std::int64_t first = tile * kTile, width = std::min(kTile, columns - first);
        for (std::int64_t i = 0; i < b; ++i) {
          const std::int64_t at = order.row(d * b + i) * columns + first;
          targets[static_cast<std::size_t>(i)] = change.data() + at;
          for (std::int64_t c = 0; c < width; ++c) {
            gathered[static_cast<std::size_t>(i * kTile + c)] =
                weight[static_cast<std::size_t>(at + c)] + change[static_cast<std::size_t>(at + c)];
          }
        }
        rotate_tile<kTile>(blocks.data<float>() + d * b * b, b, strength, gathered.data(), width,
                           targets.data());
      }
    }
  }
}

void set_rotated_columns(const Tensor& blocks, float strength, std::span<const float> weight,
                         std::span<float> change, std::int64_t columns) {
  // Rows taken together share the fetches of a block.
  constexpr std::int64_t kRows = 8, kTerms = 64;
  const std::int64_t count = blocks.size(0), b = blocks.size(1);
  VELATURA_CHECK(columns % (count * b) == 0 && change.size() == weight.size());
  const std::int64_t rows = static_cast<std::int64_t>(weight.size()) / columns;
#pragma omp parallel
  {
    std::vector<float> sum(static_cast<std::size_t>(b));
#pragma omp for collapse(2)
    for (std::int64_t group = 0; group < (rows + kRows - 1) / kRows; ++group) {
      for (std::int64_t d = 0; d < columns / b; ++d) {
        const float* block = blocks.data<float>() + (d % count) * b * b;
        for (std::int64_t o = group * kRows; o < std::min(rows, (group + 1) * kRows); ++o) {
          const float* source = weight.data() + o * columns + d * b;
          float* target = change.data() + o * columns + d * b;
          std::fill_n(target, b, 0.0f);
          for (std::int64_t begin = 0; begin < b; begin += kTerms) {
            std::ranges::fill(sum, 0.0f);
            for (std::int64_t j = begin; j < std::min(b, begin + kTerms); ++j) {
              const float factor = source[j];
              const float* row = block + j * b;
              for (std::int64_t i = 0; i < b; ++i)
                sum[static_cast<std::size_t>(i)] += factor * row[i];
            }
            for (std::int64_t i = 0; i < b; ++i)
              target[i] += strength * sum[static_cast<std::size_t>(i)];
          }
        }
      }
    }
  }
}

}  // namespace velatura::lora
