#include <cmath>

#include "diffusion/samplers/sampler.h"

namespace velatura::diffusion::samplers {

// k-diffusion's sample_dpmpp_3m_sde at eta 1, plain noise in order. Symbols as there: h the step in
// -log sigma, r the ratios of earlier steps to it, d1 and d2 the first and second derivative of the
// estimate.
Tensor dpmpp_3m_sde(const Course& course, Stepper& stepper, Tensor x) {
  Tensor denoised_1, denoised_2;
  double h_1 = 0, h_2 = 0;
  for (int i = 0; i < course.steps(); ++i) {
    const double sigma = course.sigma(i), next = course.sigma(i + 1);
    const Tensor denoised = stepper.denoise(x, sigma, course.timestep(i));
    if (next == 0) {
      x = denoised;
      stepper.report(x, next, i, true);
      continue;
    }
    const double h = std::log(sigma / next);
    const double h_eta = 2 * h;
    const double kept = std::exp(-h_eta);
    const double phi_2 = std::expm1(-h_eta) / h_eta + 1;
    Tensor moved = combine({{kept, x}, {1 - kept, denoised}});
    if (denoised_2.defined()) {
      const double r0 = h_1 / h, r1 = h_2 / h;
      const double phi_3 = phi_2 / h_eta - 0.5;
      const Tensor d1_0 = combine({{1 / r0, denoised}, {-1 / r0, denoised_1}});
      const Tensor d1_1 = combine({{1 / r1, denoised_1}, {-1 / r1, denoised_2}});
      const double d2 = 1 / (r0 + r1);  // of d1_0 - d1_1
      const double curve = phi_2 * r0 * d2 - phi_3 * d2;
      moved = combine({{1.0, moved}, {phi_2 + curve, d1_0}, {-curve, d1_1}});
    } else if (denoised_1.defined()) {
      const double slope = phi_2 * h / h_1;
      moved = combine({{1.0, moved}, {slope, denoised}, {-slope, denoised_1}});
    }
    x = combine({{1.0, moved}, {next * std::sqrt(-std::expm1(-2 * h)), stepper.noise(x)}});
    denoised_2 = denoised_1;
    denoised_1 = denoised;
    h_2 = h_1;
    h_1 = h;
    stepper.report(x, next, i, true);
  }
  return x;
}

}  // namespace velatura::diffusion::samplers
