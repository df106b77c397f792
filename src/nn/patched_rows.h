// The rows of a layer's input that share their patch: all of them, or, where the pictures of a
// batch have adapters of their own, each picture's. Not here: what a layer does with a patch.
#pragma once

#include <span>
#include <vector>

#include "nn/run.h"

namespace velatura::nn {

/// Rows [begin, end) of axis 0, and what changes for them; null: nothing.
struct PatchedRows {
  std::int64_t begin = 0, end = 0;
  const LayerPatch* patch = nullptr;
};

/// The patches of layer `id` on an input of `rows` rows: one entry where all rows share them, else
/// neighbours with one patch as one. Throws internal where the run's pictures are other rows.
std::vector<PatchedRows> patched_rows(const Run& run, LayerId id, std::int64_t rows);

/// Whether two patches (null: none) give a layer the same weight and bias.
bool same_parameters(const LayerPatch* a, const LayerPatch* b);

/// `parts` as one tensor, along axis 0. At least one part.
Tensor join_rows(Run& run, std::span<const Tensor> parts);

/// `compute`, Tensor(begin, end, const LayerPatch*), over runs of rows that share weight and bias,
/// and its results as one. A single run is not copied.
template <typename Compute>
Tensor by_parameters(Run& run, std::span<const PatchedRows> pictures, const Compute& compute) {
  std::vector<Tensor> parts;
  for (std::size_t at = 0; at < pictures.size();) {
    const PatchedRows& first = pictures[at];
    std::int64_t end = first.end;
    while (++at < pictures.size() && same_parameters(first.patch, pictures[at].patch))
      end = pictures[at].end;
    parts.push_back(compute(first.begin, end, first.patch));
  }
  return parts.size() == 1 ? parts.front() : join_rows(run, parts);
}

/// `x` itself where the rows are all it has, else a view of them.
inline Tensor rows_of(const Tensor& x, std::int64_t begin, std::int64_t end) {
  return begin == 0 && end == x.size(0) ? x : x.slice(begin, end);
}

}  // namespace velatura::nn
