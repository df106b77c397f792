#include <cmath>

#include "diffusion/samplers/sampler.h"

namespace velatura::diffusion::samplers {

// Ho et al. 2020, eq. 6-7, variance "fixed small", between the list's sigmas: a draw from the
// posterior of the next picture given x and its estimate, whose mean and variance in sigma space
// are denoised + (next / sigma)^2 * (x - denoised) and next^2 * (1 - (next / sigma)^2).
Tensor ddpm(const Course& course, Stepper& stepper, Tensor x) {
  for (int i = 0; i < course.steps(); ++i) {
    const double sigma = course.sigma(i), next = course.sigma(i + 1);
    const Tensor denoised = stepper.denoise(x, sigma, course.timestep(i));
    const double kept = (next / sigma) * (next / sigma);
    x = combine({{kept, x}, {1 - kept, denoised}});
    if (next > 0) x = combine({{1.0, x}, {next * std::sqrt(1 - kept), stepper.noise(x)}});
    stepper.report(x, next, i, true);
  }
  return x;
}

}  // namespace velatura::diffusion::samplers
