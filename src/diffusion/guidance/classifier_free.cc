#include "diffusion/guidance/classifier_free.h"

#include <cmath>
#include <span>

#include "base/error.h"
#include "diffusion/combine.h"

namespace velatura::diffusion::guidance {

namespace {

double standard_deviation(std::span<const float> values) {
  double mean = 0;
  for (float value : values) mean += value;
  mean /= static_cast<double>(values.size());
  double squares = 0;
  for (float value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / static_cast<double>(values.size()));
}

}  // namespace

Tensor classifier_free(const Tensor& unconditional, const Tensor& conditional, double scale) {
  return combine({{1.0 - scale, unconditional}, {scale, conditional}});
}

Tensor rescaled(const Tensor& guided, const Tensor& conditional, double rescale) {
  if (!(rescale >= 0 && rescale <= 1)) {
    fail(ErrorKind::invalid_argument, "guidance rescale {}: expected 0 to 1", rescale);
  }
  if (!(guided.shape() == conditional.shape())) {
    fail(ErrorKind::mismatch, "guidance rescale: outputs of shapes {} and {}",
         guided.shape().to_string(), conditional.shape().to_string());
  }
  Tensor result = guided.clone();
  for (std::int64_t i = 0; i < guided.size(0); ++i) {
    const double wanted = standard_deviation(conditional.slice(i, i + 1).floats());
    const double found = standard_deviation(guided.slice(i, i + 1).floats());
    if (found == 0) continue;  // a constant output has no contrast to give back
    const double factor = rescale * (wanted / found) + (1 - rescale);
    Tensor picture = result.slice(i, i + 1);
    for (float& value : picture.mutable_floats()) value = static_cast<float>(value * factor);
  }
  return result;
}

}  // namespace velatura::diffusion::guidance
