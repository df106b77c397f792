#include <algorithm>
#include <cmath>

#include "diffusion/samplers/sampler.h"

namespace velatura::diffusion::samplers {

namespace {

// The two integrals of UniPC's B2 variant for a step h in -log sigma, B(h) = expm1(-h): the right
// sides of its linear system for orders 1 and 2.
struct Moments {
  double first;
  double second;
};

Moments moments(double h) {
  const double whole = std::expm1(-h);
  const double phi_1 = whole / -h - 1;
  const double phi_2 = phi_1 / -h - 0.5;
  return {phi_1 / whole, 2 * phi_2 / whole};
}

}  // namespace

// Zhao et al. 2023: UniPC of order 2, variant B2, predicting x0, as diffusers'
// UniPCMultistepScheduler with lower_order_final. Every evaluation first corrects the picture it
// was made on, then predicts the next.
Tensor unipc(const Course& course, Stepper& stepper, Tensor x) {
  Tensor corrected, older, newer;  // the last corrected picture; estimates of the two steps before
  double h = 0, older_h = 0;       // the last step and the one before, in -log sigma
  int order = 0;                   // of the last step
  for (int i = 0; i < course.steps(); ++i) {
    const double sigma = course.sigma(i), next = course.sigma(i + 1);
    const Tensor denoised = stepper.denoise(x, sigma, course.timestep(i));
    if (i > 0) {
      const double kept = sigma / course.sigma(i - 1);
      const double share = 1 - kept;
      if (order == 1) {
        x = combine({{kept, corrected}, {share / 2, newer}, {share / 2, denoised}});
      } else {
        const double ratio = -older_h / h;
        const Moments moment = moments(h);
        const double old_weight = (moment.first - moment.second) / (1 - ratio);
        const double new_weight = moment.first - old_weight;
        const double slope = share * old_weight / ratio;
        x = combine({{kept, corrected},
                     {share * (1 - new_weight) - slope, newer},
                     {slope, older},
                     {share * new_weight, denoised}});
      }
    }
    corrected = x;
    order = std::min({2, course.steps() - i, i + 1});
    older = newer;
    newer = denoised;
    older_h = h;
    h = std::log(sigma / next);
    const double share = 1 - next / sigma;
    if (order == 1) {
      x = towards(corrected, denoised, sigma, next);
    } else {
      const double extrapolation = h / (2 * older_h);
      x = combine({{next / sigma, corrected},
                   {share * (1 + extrapolation), newer},
                   {-share * extrapolation, older}});
    }
    stepper.report(x, next, i, true);
  }
  return x;
}

}  // namespace velatura::diffusion::samplers
