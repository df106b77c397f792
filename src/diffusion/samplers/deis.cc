#include <cmath>

#include "diffusion/samplers/sampler.h"

namespace velatura::diffusion::samplers {

namespace {

// diffusers lowers the order of the last step for runs of fewer steps than this.
constexpr int kFewSteps = 15;

// The integral up to t of the first-degree Lagrange polynomial in log sigma that is 1 at b and 0 at
// c (Zhang and Chen 2023, log-rho); its limit at t = 0 is 0.
double integral(double t, double b, double c) {
  return t == 0 ? 0.0 : t * (std::log(t) - std::log(c) - 1) / (std::log(b) - std::log(c));
}

}  // namespace

// DEIS of order 2, log-rho, as diffusers' DEISMultistepScheduler with lower_order_final: the slope
// is extrapolated linearly in log sigma from the last two.
Tensor deis(const Course& course, Stepper& stepper, Tensor x) {
  Tensor previous;
  for (int i = 0; i < course.steps(); ++i) {
    const double sigma = course.sigma(i), next = course.sigma(i + 1);
    const Tensor denoised = stepper.denoise(x, sigma, course.timestep(i));
    const Tensor slope = combine({{1 / sigma, x}, {-1 / sigma, denoised}});
    const bool last_of_few = i + 1 == course.steps() && course.skipped + course.steps() < kFewSteps;
    if (!previous.defined() || last_of_few) {
      x = towards(x, denoised, sigma, next);
    } else {
      const double before = course.sigma(i - 1);
      const double now = integral(next, sigma, before) - integral(sigma, sigma, before);
      const double then = integral(next, before, sigma) - integral(sigma, before, sigma);
      x = combine({{1.0, x}, {now, slope}, {then, previous}});
    }
    previous = slope;
    stepper.report(x, next, i, true);
  }
  return x;
}

}  // namespace velatura::diffusion::samplers
