#include <deque>

#include "diffusion/prediction.h"
#include "diffusion/samplers/sampler.h"
#include "diffusion/samplers/strided.h"

namespace velatura::diffusion::samplers {

namespace {

// Adams-Bashforth of as many of the last outputs as there are, at most four, as for equal steps
// (Liu et al. 2022).
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

// The reference extrapolates what the model gives, noise or v, and makes noise of it afterwards.
class Outputs {
 public:
  explicit Outputs(Prediction prediction) : of_v_(prediction == Prediction::v) {}

  // v = c * noise - sigma * c * x0, c = input_scale(sigma); noise = c * v + sigma * c^2 * x.
  Tensor output(const Tensor& x, const Tensor& denoised, double sigma) const {
    const double scale = of_v_ ? input_scale(sigma) : 1.0;
    return combine(
        {{scale / sigma, x}, {-scale / sigma - (of_v_ ? sigma * scale : 0.0), denoised}});
  }
  // x + (to - from) * noise, the noise that `output` means for x.
  Tensor moved(const Tensor& x, const Tensor& output, double from, double to) const {
    const double scale = of_v_ ? input_scale(from) : 1.0;
    const double of_x = of_v_ ? from * scale * scale : 0.0;
    return combine({{1.0 + (to - from) * of_x, x}, {(to - from) * scale, output}});
  }

 private:
  bool of_v_;
};

}  // namespace

// diffusers' PNDMScheduler with skip_prk_steps. The first step is taken twice: with its own output,
// then, from its beginning, with the mean of the outputs at both ends; so n > 1 steps make n + 1
// evaluations. The paper's transfer formula (eq. 11) is a straight line in sigma space.
Tensor plms(const Course& course, Stepper& stepper, Tensor x) {
  const Outputs outputs(course.noise->config().prediction);
  std::deque<Tensor> last;  // outputs, newest first
  for (int i = 0; i < course.steps(); ++i) {
    const double sigma = course.sigma(i), next = course.sigma(i + 1);
    const double arrival = arrival_of(course, i);
    const Tensor denoised = stepper.denoise(x, sigma, course.timestep(i));
    last.push_front(outputs.output(x, denoised, sigma));
    if (last.size() > 4) last.pop_back();
    const Tensor moved =
        relabelled(outputs.moved(x, adams_bashforth(last), sigma, arrival), arrival, next);
    const bool taken_twice = i == 0 && course.steps() > 1;
    stepper.report(moved, next, i, !taken_twice);
    if (!taken_twice) {
      x = moved;
      continue;
    }
    const Tensor denoised_next = stepper.denoise(moved, next, course.timestep(1));
    const Tensor mean =
        combine({{0.5, last[0]}, {0.5, outputs.output(moved, denoised_next, next)}});
    const double departure = departure_to(course, 1);
    x = outputs.moved(relabelled(x, sigma, departure), mean, departure, next);
    stepper.report(x, next, i, true);
  }
  return x;
}

}  // namespace velatura::diffusion::samplers
