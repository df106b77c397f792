#include "diffusion/samplers/sampler.h"

namespace velatura::diffusion::samplers {

// Karras et al. 2022, algorithm 2 without churn.
Tensor euler(const Course& course, Stepper& stepper, Tensor x) {
  for (int i = 0; i < course.steps(); ++i) {
    const Tensor denoised = stepper.denoise(x, course.sigma(i), course.timestep(i));
    x = towards(x, denoised, course.sigma(i), course.sigma(i + 1));
    stepper.report(x, course.sigma(i + 1), i, true);
  }
  return x;
}

}  // namespace velatura::diffusion::samplers
