#include <cmath>

#include "diffusion/samplers/sampler.h"

namespace velatura::diffusion::samplers {

// DPM-Solver++(2S) as diffusers' DPMSolverSinglestepScheduler runs it: steps in pairs, the first of
// a pair of first order, the second of second order from the pair's beginning; the last step is of
// first order. One evaluation a step. A run that begins inside a pair (image to image) begins with
// first order.
Tensor dpmpp_2s(const Course& course, Stepper& stepper, Tensor x) {
  Tensor begin, begin_denoised;
  double begin_sigma = 0;
  for (int i = 0; i < course.steps(); ++i) {
    const double sigma = course.sigma(i), next = course.sigma(i + 1);
    const Tensor denoised = stepper.denoise(x, sigma, course.timestep(i));
    const bool second = (course.skipped + i) % 2 == 1 && i + 1 < course.steps() && begin.defined();
    if (second) {
      const double ratio = std::log(begin_sigma / sigma) / std::log(begin_sigma / next);
      const double share = 1 - next / begin_sigma;
      const double weight = 1 / (2 * ratio);
      x = combine({{next / begin_sigma, begin},
                   {share * (1 - weight), begin_denoised},
                   {share * weight, denoised}});
    } else {
      begin = x;
      begin_denoised = denoised;
      begin_sigma = sigma;
      x = towards(x, denoised, sigma, next);
    }
    stepper.report(x, next, i, true);
  }
  return x;
}

}  // namespace velatura::diffusion::samplers
