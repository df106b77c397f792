#include <cmath>

#include "diffusion/prediction.h"
#include "diffusion/samplers/sampler.h"

namespace velatura::diffusion::samplers {

// Luo et al. 2023: the estimate under the consistency function's boundary condition (at timestep 0
// it is x itself, sigma of the data 0.5), then fresh noise of the next level.
Tensor lcm(const Course& course, Stepper& stepper, Tensor x) {
  constexpr double kDataVariance = 0.25;
  for (int i = 0; i < course.steps(); ++i) {
    const double sigma = course.sigma(i), next = course.sigma(i + 1);
    const Tensor denoised = stepper.denoise(x, sigma, course.timestep(i));
    const double time = course.timestep(i) * course.noise->config().timestep_scaling;
    const double skip = kDataVariance / (time * time + kDataVariance);
    const double out = time / std::sqrt(time * time + kDataVariance);
    x = combine({{skip * input_scale(sigma), x}, {out, denoised}});
    if (next > 0) x = combine({{1.0, x}, {next, stepper.noise(x)}});
    stepper.report(x, next, i, true);
  }
  return x;
}

}  // namespace velatura::diffusion::samplers
