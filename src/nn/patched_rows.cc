#include "nn/patched_rows.h"

#include <cstring>

#include "base/error.h"

namespace velatura::nn {

std::vector<PatchedRows> patched_rows(const Run& run, LayerId id, std::int64_t rows) {
  if (run.pictures.empty())
    return {{.begin = 0, .end = rows, .patch = run.patches ? run.patches->find(id) : nullptr}};
  VELATURA_CHECK(run.pictures.front().begin == 0 && run.pictures.back().end == rows);
  std::vector<PatchedRows> result;
  std::int64_t at = 0;
  for (const PicturePatches& picture : run.pictures) {
    VELATURA_CHECK(picture.begin == at && picture.begin < picture.end);
    at = picture.end;
    const LayerPatch* patch = picture.patches ? picture.patches->find(id) : nullptr;
    if (!result.empty() && result.back().patch == patch) {
      result.back().end = picture.end;
    } else {
      result.push_back({.begin = picture.begin, .end = picture.end, .patch = patch});
    }
  }
  return result;
}

bool same_parameters(const LayerPatch* a, const LayerPatch* b) {
  const StandIn* weights[] = {a ? a->weight.get() : nullptr, b ? b->weight.get() : nullptr};
  const std::byte* biases[] = {a ? a->bias.bytes() : nullptr, b ? b->bias.bytes() : nullptr};
  return weights[0] == weights[1] && biases[0] == biases[1];
}

Tensor join_rows(Run& run, std::span<const Tensor> parts) {
  std::vector<std::int64_t> extents(parts.front().shape().extents().begin(),
                                    parts.front().shape().extents().end());
  extents[0] = 0;
  for (const Tensor& part : parts) extents[0] += part.size(0);
  Tensor joined = run.ops.allocate(Shape(extents), parts.front().dtype());
  std::byte* to = joined.mutable_bytes();
  for (const Tensor& part : parts) {
    std::memcpy(to, part.bytes(), part.byte_size());
    to += part.byte_size();
  }
  return joined;
}

}  // namespace velatura::nn
