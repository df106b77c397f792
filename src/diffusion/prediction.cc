#include "diffusion/prediction.h"

#include <cmath>

#include "base/error.h"
#include "diffusion/combine.h"

namespace velatura::diffusion {

std::string_view to_string(Prediction prediction) {
  switch (prediction) {
    case Prediction::epsilon:
      return "epsilon";
    case Prediction::v:
      return "v";
    case Prediction::sample:
      return "sample";
  }
  fail(ErrorKind::internal, "prediction {} has no name", static_cast<int>(prediction));
}

std::optional<Prediction> prediction_from_name(std::string_view name) {
  if (name == "epsilon" || name == "eps") return Prediction::epsilon;
  if (name == "v" || name == "v_prediction") return Prediction::v;
  if (name == "sample") return Prediction::sample;
  return std::nullopt;
}

double input_scale(double sigma) {
  return 1.0 / std::sqrt(sigma * sigma + 1.0);
}

Tensor to_denoised(Prediction prediction, const Tensor& x, const Tensor& output, double sigma) {
  const double scale = input_scale(sigma);
  switch (prediction) {
    case Prediction::epsilon:
      return combine({{1.0, x}, {-sigma, output}});
    case Prediction::v:
      return combine({{scale * scale, x}, {-sigma * scale, output}});
    case Prediction::sample:
      return combine({{1.0, output}});
  }
  fail(ErrorKind::internal, "prediction {} has no formula", static_cast<int>(prediction));
}

}  // namespace velatura::diffusion
