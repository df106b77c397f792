#include <cmath>

#include "diffusion/samplers/sampler.h"

namespace velatura::diffusion::samplers {

// k-diffusion's sample_dpmpp_2s_ancestral at eta 1: the estimate at the geometric middle carries
// the whole step down to the ancestral sigma, then fresh noise.
Tensor dpmpp_2s_ancestral(const Course& course, Stepper& stepper, Tensor x) {
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
    x = towards(x, denoised_middle, sigma, step.down);
    x = combine({{1.0, x}, {step.up, stepper.noise(x)}});
    stepper.report(x, next, i, true);
  }
  return x;
}

}  // namespace velatura::diffusion::samplers
