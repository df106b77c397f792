#include "backend/cpu/winograd.h"

#include "backend/cpu/kernels/winograd.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/primitive_table.h"
#include "backend/cpu/weight_forms.h"

namespace velatura::backend::cpu {

namespace {

/// One panel at a time is widened to f32: the weights themselves are never held a second time.
std::shared_ptr<const void> pack(const ConvolutionSpec& spec, const ops::Weight& weight) {
  constexpr std::int64_t kPanel = kernels::kWinogradPanel;
  auto packed = std::make_shared<Pages>(kernels::winograd_weight_bytes(spec.in, spec.out));
  const WidenedRows rows(weight.original(), DType::f32, kPanel, spec.in * 9);
  parallel_for(spec.out / kPanel, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t panel = begin; panel < end; ++panel) {
      kernels::winograd_pack(reinterpret_cast<const float*>(rows.at(panel * kPanel, kPanel)),
                             spec.in, panel, panel + 1,
                             static_cast<std::uint16_t*>(packed->data()));
    }
  });
  return packed;
}

/// Threads split the tiles; where there are fewer blocks of tiles than threads, the panels too.
struct Split {
  std::int64_t tiles = 1, panels = 1;
};
Split split_for(std::int64_t threads, std::int64_t blocks, std::int64_t panels) {
  Split split{.tiles = threads};
  while (split.tiles > blocks && split.tiles % 2 == 0 && 2 * split.panels <= panels) {
    split.tiles /= 2;
    split.panels *= 2;
  }
  return split;
}

}  // namespace

void run_winograd(const ConvolutionSpec& spec, const ops::Weight& weight,
                  const ProductArguments& arguments) {
  const auto form = weight.form("winograd 2x2 bf16", [&] { return pack(spec, weight); });
  const kernels::WinogradProblem problem{
      .batch = spec.batch,
      .height = spec.height,
      .width = spec.width,
      .in_channels = spec.in,
      .out_channels = spec.out,
      .activation = spec.activation,
      .x = static_cast<const std::uint16_t*>(arguments.x),
      .weight = static_cast<const std::uint16_t*>(static_cast<const Pages*>(form.get())->data()),
      .bias = arguments.bias,
      .residual = static_cast<const std::uint16_t*>(arguments.residual),
      .y = static_cast<std::uint16_t*>(arguments.y)};
  const std::int64_t block = winograd_block(spec);
  const std::int64_t panels = spec.out / kernels::kWinogradPanel;
  const std::int64_t threads = std::max(omp_get_max_threads(), 1);
  const Split split = split_for(threads, (problem.tiles() + block - 1) / block, panels);
  const std::size_t scratch_size = kernels::winograd_scratch_bytes(problem, block);
  auto* scratch =
      static_cast<std::byte*>(thread_scratch(scratch_size * static_cast<std::size_t>(threads)));
  parallel_for(split.tiles * split.panels, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t part = begin; part < end; ++part) {
      const std::int64_t i = part / split.panels, j = part % split.panels;
      kernels::winograd_tiles(
          problem, problem.tiles() * i / split.tiles, problem.tiles() * (i + 1) / split.tiles,
          panels * j / split.panels, panels * (j + 1) / split.panels, block,
          scratch + static_cast<std::size_t>(omp_get_thread_num()) * scratch_size);
    }
  });
}

}  // namespace velatura::backend::cpu
