// Matrix products in bf16 with f32 sums on weights packed in panels of 64 output columns. One call
// is one thread's part; nothing is allocated. Every element of y is summed in one order, whatever
// the parts.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/activation.h"

namespace velatura::backend::cpu::kernels {

inline constexpr std::int64_t kPanelWidth = 64;
/// Rows computed together; parts of the rows best begin at a multiple.
inline constexpr std::int64_t kRowTile = 6;

/// One term x · wᵀ: x bf16 [rows, in], in even, weight from product_pack.
struct ProductTerm {
  const std::uint16_t* x = nullptr;
  const std::uint16_t* weight = nullptr;
  std::int64_t in = 0;
};

/// y [rows, out] = activation(base + extra + bias) ∘ column_scales + residual; absent parts are
/// null.
struct ProductProblem {
  std::int64_t rows = 0, out = 0;
  ProductTerm base;
  ProductTerm extra;  ///< in = 0: none
  ops::Activation activation = ops::Activation::none;
  const float* bias = nullptr;
  const float* column_scales = nullptr;
  const std::uint16_t* residual = nullptr;  ///< may be y itself
  std::uint16_t* y = nullptr;

  std::int64_t panels() const { return (out + kPanelWidth - 1) / kPanelWidth; }
};

/// Elements of one packed panel: [in / 2][64 columns][2], columns beyond `out` zero.
inline std::int64_t product_panel_elements(std::int64_t in) {
  return in * kPanelWidth;
}
/// Packs `columns` <= 64 rows of a bf16 [out, in] matrix into one panel.
void product_pack_panel(const std::uint16_t* rows, std::int64_t in, std::int64_t columns,
                        std::uint16_t* panel);

void product_part(const ProductProblem& problem, std::int64_t row_begin, std::int64_t row_end,
                  std::int64_t panel_begin, std::int64_t panel_end);

/// A weight with live adapters merged into it for one product: W + up · diag(scales) · down, [out,
/// in].
struct MergeProblem {
  std::int64_t in = 0, out = 0, rank = 0;  ///< in and rank even
  const std::uint16_t* weight = nullptr;   ///< packed panels of W
  const std::uint16_t* down = nullptr;     ///< bf16 [in, rank]: the transpose
  const std::uint16_t* up = nullptr;       ///< packed panels of up [out, rank]
  const float* scales = nullptr;           ///< [rank]
  std::uint16_t* merged = nullptr;         ///< packed panels
};

/// Merges panels [panel_begin, panel_end). Sums are f32; the result is rounded to bf16 up or down
/// with the probability of its distance, by a fixed pattern of the position (stochastic rounding).
/// W lies on bf16's grid, so rounding to nearest would drop every change below half a unit and
/// weaken small strengths; this keeps their mean, and leaves W as it is where nothing changes.
/// `scratch` holds one panel of up.
void product_merge(const MergeProblem& problem, std::int64_t panel_begin, std::int64_t panel_end,
                   std::uint16_t* scratch);

}  // namespace velatura::backend::cpu::kernels
