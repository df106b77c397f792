#include <cmath>

#include "diffusion/samplers/sampler.h"

namespace velatura::diffusion::samplers {

// SDE-DPM-Solver++(2M), midpoint, eta 1, plain noise in order: k-diffusion's sample_dpmpp_2m_sde
// and, in x / sqrt(sigma^2 + 1), diffusers' "sde-dpmsolver++". Time h in -log sigma; the step to
// sigma 0 takes the estimate.
Tensor dpmpp_2m_sde(const Course& course, Stepper& stepper, Tensor x) {
  Tensor previous;
  double last_h = 0;
  for (int i = 0; i < course.steps(); ++i) {
    const double sigma = course.sigma(i), next = course.sigma(i + 1);
    const Tensor denoised = stepper.denoise(x, sigma, course.timestep(i));
    if (next == 0) {
      x = denoised;
    } else {
      const double h = std::log(sigma / next);
      const double share = -std::expm1(-2 * h);
      const double kept = 1 - share;  // (next / sigma)^2
      const double noise = next * std::sqrt(share);
      const double extrapolation = previous.defined() ? h / (2 * last_h) : 0.0;
      if (!previous.defined()) previous = denoised;
      x = combine({{kept, x},
                   {share * (1 + extrapolation), denoised},
                   {-share * extrapolation, previous},
                   {noise, stepper.noise(x)}});
      last_h = h;
    }
    previous = denoised;
    stepper.report(x, next, i, true);
  }
  return x;
}

}  // namespace velatura::diffusion::samplers
