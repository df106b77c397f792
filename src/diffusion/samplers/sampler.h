// What a sampler is: one function that walks a picture down a list of sigmas, and a row of data
// about it. Written once, in sigma space; where diffusers and the web UIs part, the list (Course)
// and the row decide, never a second formula. Not here: which list a request means and how a run
// starts and ends (plan.h).
#pragma once

#include <span>
#include <string_view>
#include <vector>

#include "diffusion/combine.h"
#include "diffusion/noise_schedule.h"
#include "diffusion/schedules/spaced.h"
#include "tensor/tensor.h"

namespace velatura::diffusion::samplers {

/// The way a run takes.
struct Course {
  const NoiseSchedule* noise = nullptr;
  std::vector<double> sigmas;     ///< falling, one more than timesteps, all but the last > 0
  std::vector<double> timesteps;  ///< the model's timestep at sigmas[i]
  int skipped = 0;  ///< steps of the whole list that an image-to-image run leaves out before these
  /// diffusers' DDIM and PLMS step down by this many timesteps, whichever timestep the list visits
  /// next (they part in `trailing` and `linspace`, and then the scaled picture is taken as it is
  /// for one of the next noise level). 0: each step goes to the next sigma.
  int stride = 0;

  int steps() const { return static_cast<int>(timesteps.size()); }
  double sigma(int step) const { return sigmas[static_cast<std::size_t>(step)]; }
  /// Also of the list's end.
  double timestep(int step) const {
    return step < steps() ? timesteps[static_cast<std::size_t>(step)]
                          : noise->timestep_of(sigma(step));
  }
};

/// What a sampler may ask for. Each evaluation is followed by exactly one report. Tensors are f32
/// [N, C, H, W].
class Stepper {
 public:
  virtual ~Stepper() = default;
  /// The estimate of the clean picture behind x at `sigma`. Throws cancelled when a stop was asked
  /// for.
  virtual Tensor denoise(const Tensor& x, double sigma, double timestep) = 0;
  /// Standard normal, like x.
  virtual Tensor noise(const Tensor& x) = 0;
  /// After the evaluation: x is now at `sigma`, on the way of step `step`, which is done or not.
  virtual void report(const Tensor& x, double sigma, int step, bool done) = 0;
};

struct Sampler {
  std::string_view name;
  std::string_view automatic;    ///< the list that `automatic` means (A1111 1.10)
  schedules::Counting counting;  ///< how diffusers' scheduler of this kind counts
  /// diffusers keeps these latents as x / sqrt(sigma^2 + 1) and starts them from plain noise.
  bool unit_variance_latents = false;
  /// Of the web UIs' lists it takes the one of n + 1 steps without the last value before the end.
  bool drops_next_to_last = false;
  bool strides = false;  ///< see Course::stride
  Tensor (*run)(const Course& course, Stepper& stepper, Tensor x);
};

Tensor euler(const Course& course, Stepper& stepper, Tensor x);
Tensor euler_ancestral(const Course& course, Stepper& stepper, Tensor x);
Tensor heun(const Course& course, Stepper& stepper, Tensor x);
Tensor dpm2(const Course& course, Stepper& stepper, Tensor x);
Tensor dpm2_ancestral(const Course& course, Stepper& stepper, Tensor x);
Tensor lms(const Course& course, Stepper& stepper, Tensor x);
Tensor dpmpp_2m(const Course& course, Stepper& stepper, Tensor x);
Tensor dpmpp_2s(const Course& course, Stepper& stepper, Tensor x);
Tensor dpmpp_2s_ancestral(const Course& course, Stepper& stepper, Tensor x);
Tensor dpmpp_sde(const Course& course, Stepper& stepper, Tensor x);
Tensor dpmpp_2m_sde(const Course& course, Stepper& stepper, Tensor x);
Tensor dpmpp_3m_sde(const Course& course, Stepper& stepper, Tensor x);
Tensor dpm_fast(const Course& course, Stepper& stepper, Tensor x);
Tensor ddim(const Course& course, Stepper& stepper, Tensor x);
Tensor ddpm(const Course& course, Stepper& stepper, Tensor x);
Tensor plms(const Course& course, Stepper& stepper, Tensor x);
Tensor unipc(const Course& course, Stepper& stepper, Tensor x);
Tensor deis(const Course& course, Stepper& stepper, Tensor x);
Tensor lcm(const Course& course, Stepper& stepper, Tensor x);

/// Every sampler, in the order they are shown.
std::span<const Sampler> all();
/// Null when no sampler has that name.
const Sampler* find(std::string_view name);

/// A step from `from` to `to` split into a deterministic part, down to `down`, and fresh noise of
/// deviation `up`, with down^2 + up^2 = to^2 (k-diffusion's get_ancestral_step at eta 1).
struct AncestralStep {
  double down;
  double up;
};
AncestralStep ancestral_step(double from, double to);

/// The straight line from x at `from` through its estimate, at `to`: x + (to - from) * (x -
/// denoised) / from.
Tensor towards(const Tensor& x, const Tensor& denoised, double from, double to);

}  // namespace velatura::diffusion::samplers
