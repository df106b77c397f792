#include "backend/cpu/product.h"

#include <algorithm>

#include "backend/cpu/kernels/product.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/primitive_table.h"
#include "backend/cpu/weight_forms.h"

namespace velatura::backend::cpu {

namespace {

/// Converted and packed one panel at a time: the matrix is never held a second time.
std::shared_ptr<const void> pack(const ops::Weight& weight, std::int64_t out, std::int64_t in) {
  const std::int64_t panels = (out + kernels::kPanelWidth - 1) / kernels::kPanelWidth;
  const std::int64_t panel_elements = kernels::product_panel_elements(in);
  auto packed = std::make_shared<Pages>(static_cast<std::size_t>(panels * panel_elements) *
                                        sizeof(std::uint16_t));
  const WidenedRows rows(weight.original(), DType::bf16, kernels::kPanelWidth, in);
  parallel_for(panels, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t panel = begin; panel < end; ++panel) {
      const std::int64_t first = panel * kernels::kPanelWidth;
      const std::int64_t columns = std::min(kernels::kPanelWidth, out - first);
      kernels::product_pack_panel(
          reinterpret_cast<const std::uint16_t*>(rows.at(first, columns)), in, columns,
          static_cast<std::uint16_t*>(packed->data()) + panel * panel_elements);
    }
  });
  return packed;
}

/// How many parts the rows and the panels are cut into.
struct Grid {
  std::int64_t rows = 1, panels = 1;
};

/// The grid whose largest part is smallest; of equals, the one that cuts the larger operand, which
/// is then read once.
Grid grid_for(const kernels::ProductProblem& problem, std::int64_t threads) {
  const std::int64_t tiles = (problem.rows + kernels::kRowTile - 1) / kernels::kRowTile;
  const std::int64_t panels = problem.panels();
  Grid best;
  std::int64_t best_work = tiles * panels;
  const auto up = [](std::int64_t a, std::int64_t b) { return (a + b - 1) / b; };
  const bool rows_first = problem.rows >= problem.out;
  for (std::int64_t i = 1; i <= threads; ++i) {
    if (threads % i != 0) continue;
    const Grid grid = rows_first ? Grid{threads / i, i} : Grid{i, threads / i};
    const std::int64_t work = up(tiles, grid.rows) * up(panels, grid.panels);
    if (work < best_work) {
      best = grid;
      best_work = work;
    }
  }
  return best;
}

const std::uint16_t* packed(const ops::Weight& weight) {
  const auto form = weight.form("panels bf16",
                                [&] { return pack(weight, weight.shape()[0], weight.shape()[1]); });
  return static_cast<const std::uint16_t*>(static_cast<const Pages*>(form.get())->data());
}

/// bf16 [columns, rows] of a weight [rows, columns].
const std::uint16_t* transposed(const ops::Weight& weight) {
  const auto form = weight.form("transposed bf16", [&]() -> std::shared_ptr<const void> {
    const std::int64_t rows = weight.shape()[0], columns = weight.shape()[1];
    const Tensor values = in_type(weight.original(), DType::bf16);
    auto pages = std::make_shared<Pages>(values.byte_size() + 1);
    const auto* from = values.data<std::uint16_t>();
    auto* to = static_cast<std::uint16_t*>(pages->data());
    parallel_for(columns, kElementwiseGrain / rows + 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = 0; row < rows; ++row) {
        for (std::int64_t c = begin; c < end; ++c) to[c * rows + row] = from[row * columns + c];
      }
    });
    return pages;
  });
  return static_cast<const std::uint16_t*>(static_cast<const Pages*>(form.get())->data());
}

kernels::ProductProblem problem_of(const ProductSpec& spec, const std::uint16_t* weight,
                                   const ProductArguments& arguments) {
  auto* y = static_cast<std::uint16_t*>(arguments.y);
  return {.rows = spec.rows,
          .out = spec.out,
          .base = {.x = static_cast<const std::uint16_t*>(arguments.x),
                   .weight = weight,
                   .in = spec.in},
          .extra = {},
          .activation = spec.activation,
          .bias = arguments.bias,
          .column_scales = arguments.column_scales,
          .residual = spec.accumulate ? y : static_cast<const std::uint16_t*>(arguments.residual),
          .y = y};
}

void run(const kernels::ProductProblem& problem) {
  const std::int64_t tiles = (problem.rows + kernels::kRowTile - 1) / kernels::kRowTile;
  const Grid grid = grid_for(problem, std::max(omp_get_max_threads(), 1));
  parallel_for(grid.rows * grid.panels, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t part = begin; part < end; ++part) {
      const std::int64_t i = part / grid.panels, j = part % grid.panels;
      kernels::product_part(
          problem, std::min(tiles * i / grid.rows * kernels::kRowTile, problem.rows),
          std::min(tiles * (i + 1) / grid.rows * kernels::kRowTile, problem.rows),
          problem.panels() * j / grid.panels, problem.panels() * (j + 1) / grid.panels);
    }
  });
}

/// The weight with the adapters merged in, in the calling thread's scratch.
const std::uint16_t* merge(const ProductSpec& spec, const ops::Weight& weight,
                           const ops::LowRank& low_rank) {
  kernels::MergeProblem problem{.in = spec.in,
                                .out = spec.out,
                                .rank = low_rank.down.shape()[0],
                                .weight = packed(weight),
                                .down = transposed(low_rank.down),
                                .up = packed(low_rank.up),
                                .scales = low_rank.scales.data<float>()};
  const std::int64_t panels = (spec.out + kernels::kPanelWidth - 1) / kernels::kPanelWidth;
  const std::int64_t merged = panels * kernels::product_panel_elements(spec.in);
  const std::int64_t scaled = kernels::product_panel_elements(problem.rank);
  const std::int64_t threads = std::max(omp_get_max_threads(), 1);
  auto* scratch = static_cast<std::uint16_t*>(
      thread_scratch(static_cast<std::size_t>(merged + threads * scaled) * sizeof(std::uint16_t)));
  problem.merged = scratch;
  parallel_for(panels, 1, [&](std::int64_t begin, std::int64_t end) {
    kernels::product_merge(problem, begin, end, scratch + merged + omp_get_thread_num() * scaled);
  });
  return problem.merged;
}

}  // namespace

void run_panels(const ProductSpec& spec, const ops::Weight& weight,
                const ProductArguments& arguments) {
  run(problem_of(spec, packed(weight), arguments));
}

bool run_panels_low_rank(const ProductSpec& spec, const ops::Weight& weight,
                         const ops::LowRank& low_rank, const ProductArguments& arguments,
                         std::int64_t rows_of_picture) {
  const std::int64_t rank = low_rank.down.shape()[0];
  if (rank == 0 || rank % 2 != 0) return false;
  if (merges_low_rank(spec, rank, rows_of_picture)) {
    run(problem_of(spec, merge(spec, weight, low_rank), arguments));
    return true;
  }
  auto* inner = static_cast<std::uint16_t*>(
      thread_scratch(static_cast<std::size_t>(spec.rows * rank) * sizeof(std::uint16_t)));
  kernels::ProductProblem thin =
      problem_of({.type = spec.type, .rows = spec.rows, .in = spec.in, .out = rank},
                 packed(low_rank.down), {.x = arguments.x, .y = inner});
  thin.column_scales = low_rank.scales.data<float>();
  run(thin);
  kernels::ProductProblem problem = problem_of(spec, packed(weight), arguments);
  problem.extra = {.x = inner, .weight = packed(low_rank.up), .in = rank};
  run(problem);
  return true;
}

}  // namespace velatura::backend::cpu
