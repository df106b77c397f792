#include "nn/norm.h"

#include "base/error.h"

namespace velatura::nn {

NormParameters::NormParameters(const Scope& scope, std::string_view name, std::int64_t channels) {
  const weights::Scope own = scope.weights.child(name);
  gamma_ = std::make_shared<const ops::Weight>(own.get_f32("weight", {channels}));
  beta_ = own.get_f32("bias", {channels});
  id_ = scope.tree->add({.path = scope.weights.path(name),
                         .kind = LayerKind::norm,
                         .weight = gamma_,
                         .bias = beta_,
                         .geometry = {}});
}

const Tensor& NormParameters::gamma(const Run& run) const {
  const LayerPatch* patch = run.patch(id_);
  if (patch == nullptr) return gamma_->original();
  VELATURA_CHECK(patch->deltas.empty());
  return patch->weight ? patch->weight->original() : gamma_->original();
}

const Tensor& NormParameters::beta(const Run& run) const {
  const LayerPatch* patch = run.patch(id_);
  return patch != nullptr && patch->bias.defined() ? patch->bias : beta_;
}

Tensor GroupNorm::forward(Run& run, const Tensor& x, const End& end) const {
  return ops::group_norm(run.ops, x,
                         {.gamma = parameters_.gamma(run),
                          .beta = parameters_.beta(run),
                          .groups = groups_,
                          .epsilon = epsilon_,
                          .activation = end.activation,
                          .channel_add = end.channel_add});
}

Tensor LayerNorm::forward(Run& run, const Tensor& x) const {
  return ops::layer_norm(run.ops, x, parameters_.gamma(run), parameters_.beta(run), epsilon_);
}

}  // namespace velatura::nn
