// The one place where adapters meet a layer that multiplies: Linear and Conv2d run their product
// through here, so no path can forget them. Not here: what a delta computes (lora/).
#pragma once

#include "nn/run.h"
#include "ops/elementwise.h"
#include "ops/linear.h"

namespace velatura::nn {

/// y = activation(product(weight, bias) + Σ deltas) + residual, with the run's patch of layer `id`.
/// `product` is Tensor(const ops::Weight&, const Tensor& bias, const ops::Epilogue&). Without
/// deltas everything rides on the product's own end; with them the activation has to wait for the
/// sum, and so has a residual behind it.
template <typename Product>
Tensor patched_product(Run& run, LayerId id, const Tensor& x, const ops::Weight& weight,
                       const Tensor& bias, const ops::Epilogue& epilogue, const Product& product) {
  const LayerPatch* patch = run.patch(id);
  if (patch == nullptr) return product(weight, bias, epilogue);
  const ops::Weight& used_weight = patch->weight ? *patch->weight : weight;
  const Tensor& used_bias = patch->bias.defined() ? patch->bias : bias;
  if (patch->deltas.empty()) return product(used_weight, used_bias, epilogue);

  const bool sum_only = epilogue.activation == ops::Activation::none;
  Tensor y = product(used_weight, used_bias,
                     ops::Epilogue{.residual = sum_only ? epilogue.residual : nullptr});
  for (const auto& delta : patch->deltas) delta->add_to(run, x, y);
  if (sum_only) return y;
  y = ops::activation(run.ops, y, epilogue.activation);
  return epilogue.residual == nullptr ? y : ops::add(run.ops, y, *epilogue.residual);
}

}  // namespace velatura::nn
