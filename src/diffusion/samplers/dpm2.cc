#include <cmath>

#include "diffusion/samplers/sampler.h"

namespace velatura::diffusion::samplers {

// DPM-Solver-2 (Lu et al. 2022) as k-diffusion's sample_dpm_2: the slope at the geometric middle
// carries the whole step. The step to sigma 0 is an Euler step.
Tensor dpm2(const Course& course, Stepper& stepper, Tensor x) {
  for (int i = 0; i < course.steps(); ++i) {
    const double sigma = course.sigma(i), next = course.sigma(i + 1);
    const double middle = std::sqrt(sigma * next);
    const Tensor denoised = stepper.denoise(x, sigma, course.timestep(i));
    const Tensor halfway = towards(x, denoised, sigma, middle);
    stepper.report(halfway, middle, i, next == 0);
    if (next == 0) {
      x = halfway;
      continue;
    }
    const Tensor denoised_middle =
        stepper.denoise(halfway, middle, course.noise->timestep_of(middle));
    const double slope = (next - sigma) / middle;
    x = combine({{1.0, x}, {slope, halfway}, {-slope, denoised_middle}});
    stepper.report(x, next, i, true);
  }
  return x;
}

}  // namespace velatura::diffusion::samplers
