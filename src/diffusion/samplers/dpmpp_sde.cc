#include <cmath>

#include "diffusion/samplers/sampler.h"

namespace velatura::diffusion::samplers {

// k-diffusion's sample_dpmpp_sde at eta 1, r = 1/2, with plain noise in order (not a Brownian
// tree): an ancestral step to the geometric middle, then one over the whole step with the estimate
// found there.
Tensor dpmpp_sde(const Course& course, Stepper& stepper, Tensor x) {
  for (int i = 0; i < course.steps(); ++i) {
    const double sigma = course.sigma(i), next = course.sigma(i + 1);
    const Tensor denoised = stepper.denoise(x, sigma, course.timestep(i));
    if (next == 0) {
      x = towards(x, denoised, sigma, next);
      stepper.report(x, next, i, true);
      continue;
    }
    const double middle = std::sqrt(sigma * next);
    const AncestralStep half = ancestral_step(sigma, middle);
    Tensor halfway = towards(x, denoised, sigma, half.down);
    halfway = combine({{1.0, halfway}, {half.up, stepper.noise(x)}});
    stepper.report(halfway, middle, i, false);
    const Tensor denoised_middle =
        stepper.denoise(halfway, middle, course.noise->timestep_of(middle));
    const AncestralStep whole = ancestral_step(sigma, next);
    x = towards(x, denoised_middle, sigma, whole.down);
    x = combine({{1.0, x}, {whole.up, stepper.noise(x)}});
    stepper.report(x, next, i, true);
  }
  return x;
}

}  // namespace velatura::diffusion::samplers
