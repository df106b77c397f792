#include "pipelines/prompt/emphasis.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace velatura::pipelines::prompt {
namespace {

/// In double: the ratio of two means of values that nearly cancel must not depend on the order of
/// summation.
double sum(std::span<const float> values) {
  double total = 0;
  for (const float value : values) total += value;
  return total;
}

}  // namespace

void apply_emphasis(Tensor& hidden, std::span<const Chunk> chunks) {
  if (hidden.rank() != 3 || hidden.size(0) != static_cast<std::int64_t>(chunks.size())) {
    fail(ErrorKind::mismatch, "emphasis: hidden states {} for {} chunks",
         hidden.shape().to_string(), chunks.size());
  }
  const auto positions = static_cast<std::size_t>(hidden.size(1));
  const auto width = static_cast<std::size_t>(hidden.size(2));
  const std::span<float> all = hidden.mutable_floats();
  for (std::size_t chunk = 0; chunk < chunks.size(); ++chunk) {
    const std::vector<float>& weights = chunks[chunk].weights;
    if (weights.size() != positions) {
      fail(ErrorKind::mismatch, "emphasis: {} weights for {} positions", weights.size(), positions);
    }
    if (std::all_of(weights.begin(), weights.end(), [](float weight) { return weight == 1.0f; }))
      continue;
    const std::span<float> values = all.subspan(chunk * positions * width, positions * width);
    const double before = sum(values);
    for (std::size_t position = 0; position < positions; ++position) {
      for (float& value : values.subspan(position * width, width)) value *= weights[position];
    }
    const auto ratio = static_cast<float>(before / sum(values));
    if (!std::isfinite(ratio)) continue;
    for (float& value : values) value *= ratio;
  }
}

}  // namespace velatura::pipelines::prompt
