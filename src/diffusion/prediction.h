// What a model's output means, and the estimate of the clean picture it stands for.
#pragma once

#include <optional>
#include <string_view>

#include "tensor/tensor.h"

namespace velatura::diffusion {

/// All three say the same thing about x = x0 + sigma * noise; c = 1 / sqrt(sigma^2 + 1) is the
/// scale of the input.
enum class Prediction {
  epsilon,  ///< the noise: x0 = x - sigma * output
  v,        ///< Salimans and Ho 2022, appendix D: x0 = c^2 * x - sigma * c * output
  sample,   ///< x0 itself
};

std::string_view to_string(Prediction prediction);
/// "epsilon", "v", "v_prediction" (configurations and modelspec spell it so) or "sample"; nothing
/// for other words.
std::optional<Prediction> prediction_from_name(std::string_view name);

/// The scale of the model's input: x * input_scale(sigma) has unit variance when x0 has.
double input_scale(double sigma);

/// x0 from the model's output at `sigma`. All tensors f32 of one shape, x in sigma space.
Tensor to_denoised(Prediction prediction, const Tensor& x, const Tensor& output, double sigma);

}  // namespace velatura::diffusion
