#include "backend/cpu/product.h"

#include <algorithm>

#include "backend/cpu/kernels/product.h"
#include "backend/cpu/parallel.h"
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
Grid grid_for(const ProductSpec& spec, std::int64_t threads, std::int64_t panels) {
  const std::int64_t tiles = (spec.rows + kernels::kRowTile - 1) / kernels::kRowTile;
  Grid best;
  std::int64_t best_work = tiles * panels;
  const auto up = [](std::int64_t a, std::int64_t b) { return (a + b - 1) / b; };
  const bool rows_first = spec.rows >= spec.out;
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

}  // namespace

void run_panels(const ProductSpec& spec, const ops::Weight& weight,
                const ProductArguments& arguments) {
  const auto form = weight.form("panels bf16", [&] { return pack(weight, spec.out, spec.in); });
  auto* y = static_cast<std::uint16_t*>(arguments.y);
  const kernels::ProductProblem problem{
      .rows = spec.rows,
      .out = spec.out,
      .base = {.x = static_cast<const std::uint16_t*>(arguments.x),
               .weight =
                   static_cast<const std::uint16_t*>(static_cast<const Pages*>(form.get())->data()),
               .in = spec.in},
      .activation = spec.activation,
      .bias = arguments.bias,
      .column_scales = arguments.column_scales,
      .residual = spec.accumulate ? y : static_cast<const std::uint16_t*>(arguments.residual),
      .y = y};
  const std::int64_t tiles = (spec.rows + kernels::kRowTile - 1) / kernels::kRowTile;
  const Grid grid = grid_for(spec, std::max(omp_get_max_threads(), 1), problem.panels());
  parallel_for(grid.rows * grid.panels, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t part = begin; part < end; ++part) {
      const std::int64_t i = part / grid.panels, j = part % grid.panels;
      kernels::product_part(problem, std::min(tiles * i / grid.rows * kernels::kRowTile, spec.rows),
                            std::min(tiles * (i + 1) / grid.rows * kernels::kRowTile, spec.rows),
                            problem.panels() * j / grid.panels,
                            problem.panels() * (j + 1) / grid.panels);
    }
  });
}

}  // namespace velatura::backend::cpu
