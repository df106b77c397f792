#include "nn/linear.h"

#include "nn/patched_product.h"

namespace velatura::nn {

Linear::Linear(const Scope& scope, std::string_view name, std::int64_t in_features,
               std::int64_t out_features, Bias bias) {
  const weights::Scope own = scope.weights.child(name);
  weight_ = std::make_shared<const ops::Weight>(own.get("weight", {out_features, in_features}),
                                                own.releaser("weight"));
  if (bias == Bias::with) bias_ = own.get_f32("bias", {out_features});
  id_ = scope.tree->add({.path = scope.weights.path(name),
                         .kind = LayerKind::linear,
                         .weight = weight_,
                         .bias = bias_,
                         .geometry = {}});
}

Tensor Linear::forward(Run& run, const Tensor& x, const ops::Epilogue& epilogue) const {
  const LayerPatch* patch = run.patch(id_);
  if (patch != nullptr && patch->deltas.size() == 1) {
    if (const auto low_rank = patch->deltas.front()->low_rank()) {
      return ops::linear_low_rank(run.ops, x, patch->weight ? *patch->weight : *weight_,
                                  patch->bias.defined() ? patch->bias : bias_, *low_rank, epilogue);
    }
  }
  return patched_product(
      run, id_, x, *weight_, bias_, epilogue,
      [&](const ops::Weight& weight, const Tensor& bias, const ops::Epilogue& end) {
        return ops::linear(run.ops, x, weight, bias, end);
      });
}

}  // namespace velatura::nn
