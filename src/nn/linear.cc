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

namespace {

/// Pictures with sets of their own whose only deltas are stacks of ranks: each product takes its
/// ranks along. nullopt where another kind acts, or where the backend is no faster that way.
std::optional<Tensor> with_own_ranks(Run& run, std::span<const PatchedRows> pictures,
                                     const Tensor& x, const ops::Weight& weight, const Tensor& bias,
                                     const ops::Epilogue& epilogue) {
  std::vector<ops::LowRankRows> parts;
  std::vector<std::shared_ptr<const ops::Weight>> stand_ins;  // alive until all have run
  bool has_ranks = false;
  for (const PatchedRows& rows : pictures) {
    ops::LowRankRows part{
        .begin = rows.begin, .end = rows.end, .weight = &weight, .bias = &bias, .low_rank = {}};
    if (const LayerPatch* patch = rows.patch) {
      if (patch->deltas.size() > 1) return std::nullopt;
      if (patch->deltas.size() == 1) {
        const auto low_rank = patch->deltas.front()->low_rank();
        if (!low_rank) return std::nullopt;
        part.low_rank.emplace(*low_rank);
        has_ranks = true;
      }
      if (patch->weight) part.weight = stand_ins.emplace_back(patch->weight->weight()).get();
      if (patch->bias.defined()) part.bias = &patch->bias;
    }
    parts.push_back(part);
  }
  return has_ranks ? ops::linear_low_rank(run.ops, x, parts, epilogue) : std::nullopt;
}

}  // namespace

Tensor Linear::forward(Run& run, const Tensor& x, const ops::Epilogue& epilogue) const {
  const std::vector<PatchedRows> pictures = patched_rows(run, id_, x.size(0));
  const LayerPatch* patch = pictures.front().patch;
  if (pictures.size() == 1 && patch != nullptr && patch->deltas.size() == 1) {
    if (const auto low_rank = patch->deltas.front()->low_rank()) {
      const auto other = patch->weight ? patch->weight->weight() : nullptr;
      return ops::linear_low_rank(run.ops, x, other ? *other : *weight_,
                                  patch->bias.defined() ? patch->bias : bias_, *low_rank, epilogue);
    }
  }
  if (pictures.size() > 1) {
    if (auto y = with_own_ranks(run, pictures, x, *weight_, bias_, epilogue)) return *std::move(y);
  }
  return patched_product(
      run, pictures, x, *weight_, bias_, epilogue,
      [&](const Tensor& rows, const ops::Weight& weight, const Tensor& bias,
          const ops::Epilogue& end) { return ops::linear(run.ops, rows, weight, bias, end); });
}

}  // namespace velatura::nn
