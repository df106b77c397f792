#include <deque>

#include "diffusion/samplers/sampler.h"
#include "diffusion/samplers/strided.h"

namespace velatura::diffusion::samplers {

namespace {

// Adams-Bashforth of as many of the last slopes as there are, at most four, as for equal steps (Liu
// et al. 2022).
Tensor adams_bashforth(const std::deque<Tensor>& e) {  // newest first
  switch (e.size()) {
    case 1:
      return e[0];
    case 2:
      return combine({{3.0 / 2, e[0]}, {-1.0 / 2, e[1]}});
    case 3:
      return combine({{23.0 / 12, e[0]}, {-16.0 / 12, e[1]}, {5.0 / 12, e[2]}});
    default:
      return combine({{55.0 / 24, e[0]}, {-59.0 / 24, e[1]}, {37.0 / 24, e[2]}, {-9.0 / 24, e[3]}});
  }
}

}  // namespace

// diffusers' PNDMScheduler with skip_prk_steps. The first step is taken twice: with its own slope,
// then, from its beginning, with the mean of the slopes at both ends; so n > 1 steps make n + 1
// evaluations. The paper's transfer formula (eq. 11) is a straight line in sigma space.
Tensor plms(const Course& course, Stepper& stepper, Tensor x) {
  std::deque<Tensor> slopes;  // newest first
  for (int i = 0; i < course.steps(); ++i) {
    const double sigma = course.sigma(i), next = course.sigma(i + 1);
    const double arrival = arrival_of(course, i);
    const Tensor denoised = stepper.denoise(x, sigma, course.timestep(i));
    slopes.push_front(combine({{1 / sigma, x}, {-1 / sigma, denoised}}));
    if (slopes.size() > 4) slopes.pop_back();
    const Tensor slope = adams_bashforth(slopes);
    const Tensor moved = relabelled(combine({{1.0, x}, {arrival - sigma, slope}}), arrival, next);
    const bool taken_twice = i == 0 && course.steps() > 1;
    stepper.report(moved, next, i, !taken_twice);
    if (!taken_twice) {
      x = moved;
      continue;
    }
    const Tensor denoised_next = stepper.denoise(moved, next, course.timestep(1));
    const Tensor mean =
        combine({{0.5, slopes[0]}, {0.5 / next, moved}, {-0.5 / next, denoised_next}});
    const double departure = departure_to(course, 1);
    x = combine({{1.0, relabelled(x, sigma, departure)}, {next - departure, mean}});
    stepper.report(x, next, i, true);
  }
  return x;
}

}  // namespace velatura::diffusion::samplers
