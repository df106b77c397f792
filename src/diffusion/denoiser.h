// What a sampler sees of a model: a function from a noisy picture to the estimate of the clean one.
#pragma once

#include <functional>

#include "diffusion/prediction.h"
#include "tensor/tensor.h"

namespace velatura::diffusion {

/// Latents are host f32 tensors [N, C, H, W] in sigma space: x = x0 + sigma * noise, x0 of unit
/// scale.
class Denoiser {
 public:
  virtual ~Denoiser() = default;
  /// The estimate of x0, of x's shape. `timestep` is what the model calls this noise level; it need
  /// not be whole.
  virtual Tensor denoise(const Tensor& x, double sigma, double timestep) = 0;
};

/// A model that was trained on inputs of unit variance: x * input_scale(sigma) goes in, what comes
/// out is read by the kind of prediction. Guidance happens inside `model`
/// (guidance/classifier_free.h).
class ScaledDenoiser : public Denoiser {
 public:
  /// (input, timestep) → output, both f32 of one shape.
  using Model = std::function<Tensor(const Tensor& input, double timestep)>;

  ScaledDenoiser(Prediction prediction, Model model)
      : prediction_(prediction), model_(std::move(model)) {}
  Tensor denoise(const Tensor& x, double sigma, double timestep) override;

 private:
  Prediction prediction_;
  Model model_;
};

}  // namespace velatura::diffusion
