// From the words of a request to a run: which sampler on which list, how it starts, what it costs,
// what it gives. The only header a pipeline needs beside denoiser.h, noise_source.h and guidance/.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/stop_token.h"
#include "diffusion/denoiser.h"
#include "diffusion/noise_source.h"
#include "diffusion/samplers/sampler.h"
#include "diffusion/schedules/schedule.h"

namespace velatura::diffusion {

/// Names as the user writes them: see sampler_names() and schedule_names().
struct SamplingRequest {
  std::string sampler = "euler";
  std::string schedule = "automatic";
  int steps = 20;
  /// In (0, 1]: the share of the list that runs, its last int(steps * strength) steps; below 1 only
  /// from a picture.
  double strength = 1.0;
  NoiseScheduleConfig noise;
  /// The family's published sigmas for the schedule `align_your_steps`.
  std::vector<double> align_your_steps{schedules::kAlignYourStepsSd15.begin(),
                                       schedules::kAlignYourStepsSd15.end()};
};

/// One call of the model.
struct Evaluation {
  double sigma;
  double timestep;
  int step;   ///< of the list, counted from 0 at the run's first
  bool done;  ///< the step ends with it
};

/// Immutable once made; may be shared by threads.
struct SamplingPlan {
  const samplers::Sampler* sampler = nullptr;
  std::string schedule;  ///< the list's name, `automatic` resolved
  std::shared_ptr<const NoiseSchedule> noise;
  samplers::Course course;
  std::vector<Evaluation> evaluations;  ///< every call of the model, in order
  int steps = 0;                        ///< how many steps end
  /// What plain noise is multiplied by to start at the first sigma.
  double start_scale = 1.0;
  /// The reference keeps these latents as x / sqrt(sigma^2 + 1); see to_reference_space.
  bool unit_variance_latents = false;
};

/// Throws invalid_argument for an unknown name (with the three nearest), steps < 1, a strength
/// outside (0, 1] or one that leaves no step, and more steps than the model has.
SamplingPlan make_plan(const SamplingRequest& request);

std::vector<std::string> sampler_names();
std::vector<std::string> schedule_names();  ///< automatic first, web UIs' lists, then diffusers'

/// Start latents in sigma space, from standard normal noise alone.
Tensor start_from_noise(const SamplingPlan& plan, const Tensor& noise);
/// Start latents in sigma space, from a picture's latents (unit scale) and standard normal noise:
/// latents + sigma * noise.
Tensor start_from_latents(const SamplingPlan& plan, const Tensor& latents, const Tensor& noise);

/// The latents as the reference implementation's scheduler holds them at that sigma.
Tensor to_reference_space(const SamplingPlan& plan, const Tensor& latents, double sigma);

/// After one evaluation.
struct SamplingProgress {
  int evaluation;  ///< number of calls of the model so far, 1 at the first
  int evaluations;
  int step;  ///< from 0
  int steps;
  bool step_done;          ///< false after the inner evaluations of a step
  double sigma;            ///< of `latents`
  const Tensor& latents;   ///< sigma space
  const Tensor& denoised;  ///< the newest estimate of the clean latents: what a preview shows
};

struct SamplingHooks {
  std::function<void(const SamplingProgress&)> progress;  ///< may be empty
  StopToken stop;                                         ///< looked at before every evaluation
};

/// Runs the plan from `start` (f32 [N, C, H, W], sigma space) and gives the latents for the picture
/// codec (unit scale). Noise is drawn from `noise` as the sampler asks for it. Throws cancelled;
/// what the denoiser or a hook throws passes.
Tensor run_sampling(const SamplingPlan& plan, Denoiser& denoiser, NoiseSource& noise,
                    const Tensor& start, const SamplingHooks& hooks = {});

}  // namespace velatura::diffusion
