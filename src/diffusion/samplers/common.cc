#include <cmath>

#include "diffusion/samplers/sampler.h"

namespace velatura::diffusion::samplers {

AncestralStep ancestral_step(double from, double to) {
  return {.down = to * to / from, .up = to * std::sqrt((from - to) * (from + to)) / from};
}

// As a mean of x and the estimate: exact at to = 0, and without the cancellation of large sigmas.
Tensor towards(const Tensor& x, const Tensor& denoised, double from, double to) {
  const double kept = to / from;
  return combine({{kept, x}, {1 - kept, denoised}});
}

}  // namespace velatura::diffusion::samplers
