#include <cmath>

#include "diffusion/samplers/sampler.h"

namespace velatura::diffusion::samplers {

// DPM-Solver++(2M) (Lu et al. 2022b), time h in -log sigma. The first step and the one to sigma 0
// are of first order. diffusers' scheduler is the same in x / sqrt(sigma^2 + 1).
Tensor dpmpp_2m(const Course& course, Stepper& stepper, Tensor x) {
  Tensor previous;
  double last_h = 0;
  for (int i = 0; i < course.steps(); ++i) {
    const double sigma = course.sigma(i), next = course.sigma(i + 1);
    const double h = std::log(sigma / next);
    const Tensor denoised = stepper.denoise(x, sigma, course.timestep(i));
    if (!previous.defined() || next == 0) {
      x = towards(x, denoised, sigma, next);
    } else {
      const double extrapolation = h / (2 * last_h);
      const double share = 1 - next / sigma;
      x = combine({{next / sigma, x},
                   {share * (1 + extrapolation), denoised},
                   {-share * extrapolation, previous}});
    }
    previous = denoised;
    last_h = h;
    stepper.report(x, next, i, true);
  }
  return x;
}

}  // namespace velatura::diffusion::samplers
