#include "diffusion/samplers/sampler.h"

namespace velatura::diffusion::samplers {

// k-diffusion's sample_euler_ancestral at eta 1. diffusers draws noise for the last step too and
// multiplies it by 0.
Tensor euler_ancestral(const Course& course, Stepper& stepper, Tensor x) {
  for (int i = 0; i < course.steps(); ++i) {
    const double sigma = course.sigma(i), next = course.sigma(i + 1);
    const AncestralStep step = ancestral_step(sigma, next);
    const Tensor denoised = stepper.denoise(x, sigma, course.timestep(i));
    x = towards(x, denoised, sigma, step.down);
    if (next > 0) x = combine({{1.0, x}, {step.up, stepper.noise(x)}});
    stepper.report(x, next, i, true);
  }
  return x;
}

}  // namespace velatura::diffusion::samplers
