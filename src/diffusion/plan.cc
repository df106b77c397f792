#include "diffusion/plan.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"

namespace velatura::diffusion {

namespace {

using samplers::Course;
using samplers::Sampler;
using samplers::Stepper;

constexpr int kMostSteps = 100'000;  // bounds memory; far above any use

[[noreturn]] void unknown_name(std::string_view kind, std::string_view wanted,
                               const std::vector<std::string>& known) {
  fail(ErrorKind::invalid_argument, "no {} is called '{}'; nearest: {}", kind, wanted,
       fmt::join(nearest_names(wanted, known), ", "));
}

struct NamedList {
  schedules::SigmaList list;
  bool of_web_ui;
  int stride = 0;
};

NamedList web_list(const schedules::WebSchedule& schedule, const Sampler& sampler,
                   const SamplingRequest& request, const NoiseSchedule& noise) {
  const int steps = request.steps + (sampler.drops_next_to_last ? 1 : 0);
  const auto& published = request.align_your_steps;
  if (published.size() < 2 ||
      !std::all_of(published.begin(), published.end(), [](double sigma) { return sigma > 0; })) {
    fail(ErrorKind::invalid_argument, "align_your_steps: expected at least two sigmas above 0");
  }
  std::vector<double> sigmas = schedule.sigmas({noise, steps, published});
  // ComfyUI's and A1111's discard_next_to_last_sigma: these samplers do badly on the last step's
  // short reach. A list that came out too short to spare it keeps it.
  if (sampler.drops_next_to_last && sigmas.size() > 2) sigmas.erase(sigmas.end() - 2);
  NamedList result{.list = {.sigmas = std::move(sigmas), .timesteps = {}}, .of_web_ui = true};
  for (std::size_t i = 0; i + 1 < result.list.sigmas.size(); ++i) {
    result.list.timesteps.push_back(noise.timestep_of(result.list.sigmas[i]));
  }
  return result;
}

NamedList list_by_name(std::string_view name, const Sampler& sampler,
                       const SamplingRequest& request, const NoiseSchedule& noise) {
  if (const auto* schedule = schedules::find_web_schedule(name))
    return web_list(*schedule, sampler, request, noise);
  const std::optional<schedules::SpacedName> spaced = schedules::parse_spaced_name(name);
  if (!spaced) unknown_name("schedule", name, schedule_names());
  NamedList result{.list = schedules::spaced_list(*spaced, sampler.counting, noise, request.steps),
                   .of_web_ui = false};
  if (sampler.strides && spaced->transform == schedules::Transform::none)
    result.stride = noise.size() / request.steps;
  return result;
}

// How many steps of the list are left out at its beginning.
int skipped_steps(const SamplingRequest& request, int steps) {
  if (!(request.strength > 0 && request.strength <= 1)) {
    fail(ErrorKind::invalid_argument, "strength {}: expected above 0 and at most 1",
         request.strength);
  }
  if (request.strength == 1) return 0;
  const int kept = std::min(static_cast<int>(request.steps * request.strength), steps);
  if (kept < 1) {
    fail(ErrorKind::invalid_argument,
         "strength {} of {} steps leaves no step to run; raise the strength or the steps to at "
         "least {} together",
         request.strength, request.steps, std::ceil(1 / request.strength));
  }
  return steps - kept;
}

// Asks a sampler for its evaluations by running it on one number with a model and noise that are 0.
class Rehearsal : public Stepper {
 public:
  Tensor denoise(const Tensor& x, double sigma, double timestep) override {
    evaluations_.push_back({sigma, timestep, 0, false});
    return Tensor::zeros(x.shape(), DType::f32);
  }
  Tensor noise(const Tensor& x) override { return Tensor::zeros(x.shape(), DType::f32); }
  void report(const Tensor&, double, int step, bool done) override {
    VELATURA_CHECK(++reports_ == evaluations_.size());
    evaluations_.back().step = step;
    evaluations_.back().done = done;
  }
  std::vector<Evaluation> evaluations_;

 private:
  std::size_t reports_ = 0;
};

class Performance : public Stepper {
 public:
  Performance(const SamplingPlan& plan, Denoiser& denoiser, NoiseSource& noise,
              const SamplingHooks& hooks)
      : plan_(plan), denoiser_(denoiser), noise_(noise), hooks_(hooks) {}

  Tensor denoise(const Tensor& x, double sigma, double timestep) override {
    throw_if_stopped(hooks_.stop);
    denoised_ = denoiser_.denoise(x, sigma, timestep);
    if (!(denoised_.shape() == x.shape())) {
      fail(ErrorKind::internal, "the denoiser gave {} for latents of {}",
           denoised_.shape().to_string(), x.shape().to_string());
    }
    ++evaluation_;
    return denoised_;
  }
  Tensor noise(const Tensor& x) override { return noise_.draw(x.shape()); }
  void report(const Tensor& x, double sigma, int step, bool done) override {
    if (!hooks_.progress) return;
    hooks_.progress({.evaluation = evaluation_,
                     .evaluations = static_cast<int>(plan_.evaluations.size()),
                     .step = step,
                     .steps = plan_.steps,
                     .step_done = done,
                     .sigma = sigma,
                     .latents = x,
                     .denoised = denoised_});
  }

 private:
  const SamplingPlan& plan_;
  Denoiser& denoiser_;
  NoiseSource& noise_;
  const SamplingHooks& hooks_;
  Tensor denoised_;
  int evaluation_ = 0;
};

}  // namespace

std::vector<std::string> sampler_names() {
  std::vector<std::string> names;
  for (const Sampler& sampler : samplers::all()) names.emplace_back(sampler.name);
  return names;
}

std::vector<std::string> schedule_names() {
  std::vector<std::string> names = {"automatic"};
  for (const schedules::WebSchedule& schedule : schedules::web_schedules())
    names.emplace_back(schedule.name);
  for (std::string& name : schedules::spaced_names()) names.push_back(std::move(name));
  return names;
}

SamplingPlan make_plan(const SamplingRequest& request) {
  SamplingPlan plan;
  plan.sampler = samplers::find(request.sampler);
  if (plan.sampler == nullptr) unknown_name("sampler", request.sampler, sampler_names());
  if (request.steps < 1 || request.steps > kMostSteps) {
    fail(ErrorKind::invalid_argument, "{} steps: expected 1 to {}", request.steps, kMostSteps);
  }
  plan.schedule =
      request.schedule == "automatic" ? std::string(plan.sampler->automatic) : request.schedule;
  plan.noise = std::make_shared<const NoiseSchedule>(request.noise);

  NamedList named = list_by_name(plan.schedule, *plan.sampler, request, *plan.noise);
  const int skipped = skipped_steps(request, static_cast<int>(named.list.timesteps.size()));
  named.list.sigmas.erase(named.list.sigmas.begin(), named.list.sigmas.begin() + skipped);
  named.list.timesteps.erase(named.list.timesteps.begin(), named.list.timesteps.begin() + skipped);
  plan.course = {.noise = plan.noise.get(),
                 .sigmas = std::move(named.list.sigmas),
                 .timesteps = std::move(named.list.timesteps),
                 .skipped = skipped,
                 .stride = named.stride};

  // diffusers' Euler kind starts at sigma for the lists that reach the last timestep; its other
  // schedulers, and Euler on `leading`, start from the variance that a picture of unit variance
  // would add. The web UIs start at sigma.
  const std::optional<schedules::SpacedName> spaced = schedules::parse_spaced_name(plan.schedule);
  const bool reaches_the_last = spaced && spaced->spacing != schedules::Spacing::leading;
  plan.unit_variance_latents = plan.sampler->unit_variance_latents && !named.of_web_ui;
  const bool at_sigma =
      named.of_web_ui || (reaches_the_last && !plan.sampler->unit_variance_latents);
  const double first = plan.course.sigma(0);
  plan.start_scale = at_sigma ? first : std::sqrt(first * first + 1);

  Rehearsal rehearsal;
  plan.sampler->run(plan.course, rehearsal, Tensor::zeros({1, 1, 1, 1}, DType::f32));
  plan.evaluations = std::move(rehearsal.evaluations_);
  plan.steps =
      static_cast<int>(std::count_if(plan.evaluations.begin(), plan.evaluations.end(),
                                     [](const Evaluation& evaluation) { return evaluation.done; }));
  return plan;
}

Tensor start_from_noise(const SamplingPlan& plan, const Tensor& noise) {
  return combine({{plan.start_scale, noise}});
}

Tensor start_from_latents(const SamplingPlan& plan, const Tensor& latents, const Tensor& noise) {
  return combine({{1.0, latents}, {plan.course.sigma(0), noise}});
}

Tensor to_reference_space(const SamplingPlan& plan, const Tensor& latents, double sigma) {
  return plan.unit_variance_latents ? combine({{input_scale(sigma), latents}}) : latents;
}

Tensor run_sampling(const SamplingPlan& plan, Denoiser& denoiser, NoiseSource& noise,
                    const Tensor& start, const SamplingHooks& hooks) {
  if (start.dtype() != DType::f32 || start.rank() != 4) {
    fail(ErrorKind::invalid_argument, "start latents {} of type {}: expected f32 [N, C, H, W]",
         start.shape().to_string(), to_string(start.dtype()));
  }
  Performance performance(plan, denoiser, noise, hooks);
  const Tensor latents = plan.sampler->run(plan.course, performance, start);
  throw_if_stopped(hooks.stop);
  return to_reference_space(plan, latents, plan.course.sigmas.back());
}

}  // namespace velatura::diffusion
