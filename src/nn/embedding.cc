#include "nn/embedding.h"

#include "base/error.h"
#include "nn/patched_rows.h"
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
  return by_parameters(
      run, patched_rows(run, id_, ids.size(0)),
      [&](std::int64_t begin, std::int64_t end, const LayerPatch* patch) {
        VELATURA_CHECK(patch == nullptr || patch->deltas.empty());
        const auto other = patch && patch->weight ? patch->weight->weight() : nullptr;
        return ops::embedding(run.ops, other ? other->original() : table_->original(),
                              rows_of(ids, begin, end));
      });
}

}  // namespace velatura::nn
