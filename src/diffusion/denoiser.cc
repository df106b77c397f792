#include "diffusion/denoiser.h"

#include "diffusion/combine.h"

namespace velatura::diffusion {

Tensor ScaledDenoiser::denoise(const Tensor& x, double sigma, double timestep) {
  const Tensor input = combine({{input_scale(sigma), x}});
  return to_denoised(prediction_, x, model_(input, timestep), sigma);
}

}  // namespace velatura::diffusion
