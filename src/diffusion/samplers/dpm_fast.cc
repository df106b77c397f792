#include <cmath>

#include "diffusion/samplers/sampler.h"

namespace velatura::diffusion::samplers {

namespace {

// DPM-Solver of orders 1 to 3 (Lu et al. 2022, algorithms 1 and 2 with r1 = 1/3, r2 = 2/3; r1 = 1/2
// at order 2), after k-diffusion's DPMSolver. Time is t = -log sigma, so sigma(t + h) * expm1(h) =
// sigma(t) - sigma(t + h).
class Solver {
 public:
  Solver(const Course& course, Stepper& stepper) : course_(course), stepper_(stepper) {}

  // The noise in x as the model sees it.
  Tensor noise_at(const Tensor& x, double time) {
    const double sigma = std::exp(-time);
    const Tensor denoised = stepper_.denoise(x, sigma, course_.noise->timestep_of(sigma));
    return combine({{1 / sigma, x}, {-1 / sigma, denoised}});
  }

  // x after `order` evaluations from `time` to `time + h`; reports after each.
  Tensor step(const Tensor& x, double time, double h, int order, int index) {
    const Tensor eps = noise_at(x, time);
    if (order == 1)
      return reported(combine({{1.0, x}, {-span(time, h), eps}}), time + h, index, true);
    const double r1 = order == 2 ? 1.0 / 2 : 1.0 / 3;
    const Tensor u1 =
        reported(combine({{1.0, x}, {-span(time, r1 * h), eps}}), time + r1 * h, index, false);
    const Tensor eps_1 = noise_at(u1, time + r1 * h);
    if (order == 2) {
      const double weight = span(time, h) / (2 * r1);
      return reported(combine({{1.0, x}, {-span(time, h) + weight, eps}, {-weight, eps_1}}),
                      time + h, index, true);
    }
    const double r2 = 2.0 / 3;
    const double bend_2 = r2 / r1 * bend(time, r2 * h);
    const Tensor u2 =
        reported(combine({{1.0, x}, {-span(time, r2 * h) + bend_2, eps}, {-bend_2, eps_1}}),
                 time + r2 * h, index, false);
    const Tensor eps_2 = noise_at(u2, time + r2 * h);
    const double bend_3 = bend(time, h) / r2;
    return reported(combine({{1.0, x}, {-span(time, h) + bend_3, eps}, {-bend_3, eps_2}}), time + h,
                    index, true);
  }

 private:
  static double span(double time, double h) { return std::exp(-time) - std::exp(-time - h); }
  // sigma(t + h) * (expm1(h) / h - 1)
  static double bend(double time, double h) {
    return std::exp(-time - h) * (std::expm1(h) / h - 1);
  }
  Tensor reported(const Tensor& x, double time, int index, bool done) {
    stepper_.report(x, std::exp(-time), index, done);
    return x;
  }

  const Course& course_;
  Stepper& stepper_;
};

}  // namespace

// k-diffusion's dpm_solver_fast at eta 0: as many evaluations as the list has steps, spent in steps
// of third order even in log sigma between the list's first and its last value above 0, the rest in
// a lower order at the end. A list of one step names no end above 0; it ends at the model's
// smallest sigma.
Tensor dpm_fast(const Course& course, Stepper& stepper, Tensor x) {
  const int evaluations = course.steps();
  double last = course.sigmas.back();
  if (last == 0) last = evaluations > 1 ? course.sigma(evaluations - 1) : course.noise->sigma_min();
  const double begin = -std::log(course.sigma(0)), end = -std::log(last);
  const int steps = evaluations / 3 + 1;
  const double h = (end - begin) / steps;
  Solver solver(course, stepper);
  int left = evaluations;
  for (int i = 0; i < steps; ++i) {
    // When three divide the count, the last two steps are of order 2 and 1.
    const int order = left == 3 ? 2 : std::min(left, 3);
    x = solver.step(x, begin + i * h, h, order, i);
    left -= order;
  }
  return x;
}

}  // namespace velatura::diffusion::samplers
