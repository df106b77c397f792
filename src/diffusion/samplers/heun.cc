#include "diffusion/samplers/sampler.h"

namespace velatura::diffusion::samplers {

// Karras et al. 2022, algorithm 2: an Euler step, then the mean of the slopes at both ends. The
// step to sigma 0 has no slope at its end and stays an Euler step, so n steps make 2n - 1
// evaluations.
Tensor heun(const Course& course, Stepper& stepper, Tensor x) {
  for (int i = 0; i < course.steps(); ++i) {
    const double sigma = course.sigma(i), next = course.sigma(i + 1);
    const Tensor denoised = stepper.denoise(x, sigma, course.timestep(i));
    const Tensor predicted = towards(x, denoised, sigma, next);
    stepper.report(predicted, next, i, next == 0);
    if (next == 0) {
      x = predicted;
      continue;
    }
    const Tensor denoised_next = stepper.denoise(predicted, next, course.timestep(i + 1));
    // x + h/2 * ((x - denoised) / sigma + (predicted - denoised_next) / next), h = next - sigma
    const double half = (next - sigma) / 2;
    x = combine({{1 + half / sigma, x},
                 {-half / sigma, denoised},
                 {half / next, predicted},
                 {-half / next, denoised_next}});
    stepper.report(x, next, i, true);
  }
  return x;
}

}  // namespace velatura::diffusion::samplers
