// The one place where adapters meet a layer that multiplies: Linear and Conv2d run their product
// through here, so no path can forget them. Not here: what a delta computes (lora/).
#pragma once

#include "nn/patched_rows.h"
#include "ops/elementwise.h"
#include "ops/linear.h"

namespace velatura::nn {

/// y = activation(product(x, weight, bias) + Σ deltas) + residual, with the run's patches of layer
/// `id`. `product` is Tensor(const Tensor& x, const ops::Weight&, const Tensor& bias, const
/// ops::Epilogue&). Without deltas everything rides on the product's own end; with them the
/// activation has to wait for the sum, and so has a residual behind it. Rows with the same weight
/// and bias are one product whatever their deltas.
template <typename Product>
Tensor patched_product(Run& run, std::span<const PatchedRows> pictures, const Tensor& x,
                       const ops::Weight& weight, const Tensor& bias, const ops::Epilogue& epilogue,
                       const Product& product) {
  bool has_deltas = false;
  for (const PatchedRows& rows : pictures)
    has_deltas = has_deltas || (rows.patch != nullptr && !rows.patch->deltas.empty());
  const bool sum_only = epilogue.activation == ops::Activation::none;
  const ops::Epilogue own_end =
      has_deltas ? ops::Epilogue{.residual = sum_only ? epilogue.residual : nullptr} : epilogue;

  Tensor y = by_parameters(
      run, pictures, [&](std::int64_t begin, std::int64_t end, const LayerPatch* patch) {
        const auto other = patch && patch->weight ? patch->weight->weight() : nullptr;
        const Tensor& used_bias = patch && patch->bias.defined() ? patch->bias : bias;
        ops::Epilogue rows_end = own_end;
        const Tensor residual =
            own_end.residual ? rows_of(*own_end.residual, begin, end) : Tensor();
        if (own_end.residual) rows_end.residual = &residual;
        return product(rows_of(x, begin, end), other ? *other : weight, used_bias, rows_end);
      });
  if (!has_deltas) return y;
  for (const PatchedRows& rows : pictures) {
    if (rows.patch == nullptr || rows.patch->deltas.empty()) continue;
    const Tensor x_rows = rows_of(x, rows.begin, rows.end);
    Tensor y_rows = rows_of(y, rows.begin, rows.end);
    for (const auto& delta : rows.patch->deltas) delta->add_to(run, x_rows, y_rows);
  }
  if (sum_only) return y;
  y = ops::activation(run.ops, y, epilogue.activation);
  return epilogue.residual == nullptr ? y : ops::add(run.ops, y, *epilogue.residual);
}

}  // namespace velatura::nn
