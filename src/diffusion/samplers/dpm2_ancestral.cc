#include <cmath>

#include "diffusion/samplers/sampler.h"

namespace velatura::diffusion::samplers {

// k-diffusion's sample_dpm_2_ancestral at eta 1: DPM-Solver-2 down to the ancestral sigma, then
// fresh noise.
Tensor dpm2_ancestral(const Course& course, Stepper& stepper, Tensor x) {
  for (int i = 0; i < course.steps(); ++i) {
    const double sigma = course.sigma(i), next = course.sigma(i + 1);
    const AncestralStep step = ancestral_step(sigma, next);
    const double middle = std::sqrt(sigma * step.down);
    const Tensor denoised = stepper.denoise(x, sigma, course.timestep(i));
    const Tensor halfway = towards(x, denoised, sigma, middle);
    stepper.report(halfway, middle, i, next == 0);
    if (next == 0) {
      x = halfway;
      continue;
    }
    const Tensor denoised_middle =
        stepper.denoise(halfway, middle, course.noise->timestep_of(middle));
    const double slope = (step.down - sigma) / middle;
    x = combine(
        {{1.0, x}, {slope, halfway}, {-slope, denoised_middle}, {step.up, stepper.noise(x)}});
    stepper.report(x, next, i, true);
  }
  return x;
}

}  // namespace velatura::diffusion::samplers
