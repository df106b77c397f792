#include <algorithm>
#include <cmath>
#include <deque>

#include "diffusion/samplers/sampler.h"

namespace velatura::diffusion::samplers {

namespace {

constexpr int kOrder = 4;

// The integral over [sigma(step), sigma(step + 1)] of the Lagrange polynomial that is 1 at
// sigma(step - which) and 0 at the other nodes. Its degree is at most 3, where Gauss-Legendre with
// two points is exact.
double coefficient(const Course& course, int step, int order, int which) {
  const auto polynomial = [&](double sigma) {
    double product = 1;
    for (int k = 0; k < order; ++k) {
      if (k == which) continue;
      product *=
          (sigma - course.sigma(step - k)) / (course.sigma(step - which) - course.sigma(step - k));
    }
    return product;
  };
  const double middle = (course.sigma(step) + course.sigma(step + 1)) / 2;
  const double half = (course.sigma(step + 1) - course.sigma(step)) / 2;
  const double offset = half / std::sqrt(3.0);
  return half * (polynomial(middle - offset) + polynomial(middle + offset));
}

}  // namespace

// Linear multistep of order 4 (k-diffusion's sample_lms): as many of the last slopes as there are.
Tensor lms(const Course& course, Stepper& stepper, Tensor x) {
  std::deque<Tensor> slopes;  // newest first
  for (int i = 0; i < course.steps(); ++i) {
    const double sigma = course.sigma(i);
    const Tensor denoised = stepper.denoise(x, sigma, course.timestep(i));
    slopes.push_front(combine({{1 / sigma, x}, {-1 / sigma, denoised}}));
    if (slopes.size() > kOrder) slopes.pop_back();
    const int order = static_cast<int>(slopes.size());
    for (int k = 0; k < order; ++k) {
      x = combine(
          {{1.0, x}, {coefficient(course, i, order, k), slopes[static_cast<std::size_t>(k)]}});
    }
    stepper.report(x, course.sigma(i + 1), i, true);
  }
  return x;
}

}  // namespace velatura::diffusion::samplers
