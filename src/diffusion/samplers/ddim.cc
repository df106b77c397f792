#include <cmath>

#include "diffusion/samplers/sampler.h"
#include "diffusion/samplers/strided.h"

namespace velatura::diffusion::samplers {

// Song et al. 2021 at eta 0. In sigma space it is Euler's step; what is DDIM's own is the list, and
// where a step of that list arrives (Course::stride).
Tensor ddim(const Course& course, Stepper& stepper, Tensor x) {
  for (int i = 0; i < course.steps(); ++i) {
    const double next = course.sigma(i + 1);
    const double arrival = arrival_of(course, i);
    const Tensor denoised = stepper.denoise(x, course.sigma(i), course.timestep(i));
    x = relabelled(towards(x, denoised, course.sigma(i), arrival), arrival, next);
    stepper.report(x, next, i, true);
  }
  return x;
}

}  // namespace velatura::diffusion::samplers
