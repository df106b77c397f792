#include "nn/embedding.h"

#include "base/error.h"
#include "ops/elementwise.h"

namespace velatura::nn {

Embedding::Embedding(const Scope& scope, std::string_view name, std::int64_t rows,
                     std::int64_t width)
    : table_(std::make_shared<const ops::Weight>(
          scope.weights.child(name).get("weight", {rows, width}))),
      id_(scope.tree->add({.path = scope.weights.path(name),
                           .kind = LayerKind::embedding,
                           .weight = table_,
                           .bias = {},
                           .geometry = {}})) {}

Tensor Embedding::forward(Run& run, const Tensor& ids) const {
  const LayerPatch* patch = run.patch(id_);
  if (patch == nullptr) return ops::embedding(run.ops, table_->original(), ids);
  VELATURA_CHECK(patch->deltas.empty());
  return ops::embedding(run.ops, patch->weight ? patch->weight->original() : table_->original(),
                        ids);
}

}  // namespace velatura::nn
