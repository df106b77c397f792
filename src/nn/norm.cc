#include "nn/norm.h"

#include "base/error.h"
#include "nn/patched_rows.h"

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

NormParameters::Values NormParameters::values(const LayerPatch* patch) const {
  if (patch == nullptr) return {.gamma = gamma_->original(), .beta = beta_};
  VELATURA_CHECK(patch->deltas.empty());
  return {.gamma = patch->weight ? patch->weight->weight()->original() : gamma_->original(),
          .beta = patch->bias.defined() ? patch->bias : beta_};
}

Tensor GroupNorm::forward(Run& run, const Tensor& x, const End& end) const {
  return by_parameters(
      run, patched_rows(run, parameters_.id(), x.size(0)),
      [&](std::int64_t begin, std::int64_t stop, const LayerPatch* patch) {
        const NormParameters::Values values = parameters_.values(patch);
        const Tensor added = end.channel_add ? rows_of(*end.channel_add, begin, stop) : Tensor();
        return ops::group_norm(run.ops, rows_of(x, begin, stop),
                               {.gamma = values.gamma,
                                .beta = values.beta,
                                .groups = groups_,
                                .epsilon = epsilon_,
                                .activation = end.activation,
                                .channel_add = end.channel_add ? &added : nullptr});
      });
}

Tensor LayerNorm::forward(Run& run, const Tensor& x) const {
  return by_parameters(run, patched_rows(run, parameters_.id(), x.size(0)),
                       [&](std::int64_t begin, std::int64_t stop, const LayerPatch* patch) {
                         const NormParameters::Values values = parameters_.values(patch);
                         return ops::layer_norm(run.ops, rows_of(x, begin, stop), values.gamma,
                                                values.beta, epsilon_);
                       });
}

}  // namespace velatura::nn
