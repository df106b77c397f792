// The web UIs' lists of sigmas, by name: one function each, one table. Lists made the way diffusers
// makes them are in spaced.h. Not here: which list a sampler takes by default (samplers/table.cc).
#pragma once

#include <array>
#include <span>
#include <string_view>
#include <vector>

#include "diffusion/noise_schedule.h"

namespace velatura::diffusion::schedules {

/// Published eleven-step lists of "Align Your Steps" (Sabour et al. 2024), a property of the model
/// family.
inline constexpr std::array<double, 11> kAlignYourStepsSd15 = {
    14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029};
inline constexpr std::array<double, 11> kAlignYourStepsSdxl = {
    14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029};

/// What a list is made from. `steps` >= 1.
struct ScheduleInput {
  const NoiseSchedule& noise;
  int steps;
  std::span<const double> align_your_steps;  ///< at least two falling sigmas
};

/// Each gives falling sigmas, as a rule steps + 1 with 0 at the end; the exceptions say so. Source:
/// A1111 1.10 (modules/sd_schedulers.py), k-diffusion 0.1.1 (sampling.py) and ComfyUI
/// (comfy/samplers.py, `beta`).
std::vector<double> normal(const ScheduleInput& input);  ///< even in the timestep, both ends
std::vector<double> sgm_uniform(
    const ScheduleInput& input);                         ///< even in the timestep, without the last
std::vector<double> simple(const ScheduleInput& input);  ///< every so many-th of the model's sigmas
std::vector<double> ddim_uniform(
    const ScheduleInput& input);  ///< whole strides: the count may differ from steps
std::vector<double> karras(const ScheduleInput& input);
std::vector<double> exponential(const ScheduleInput& input);
std::vector<double> polyexponential(
    const ScheduleInput& input);                       ///< rho 1, where it equals `exponential`
std::vector<double> beta(const ScheduleInput& input);  ///< equal neighbours dropped: may be shorter
std::vector<double> kl_optimal(
    const ScheduleInput& input);  ///< ends at the model's smallest sigma, not at 0
std::vector<double> align_your_steps(const ScheduleInput& input);

struct WebSchedule {
  std::string_view name;
  std::vector<double> (*sigmas)(const ScheduleInput&);
};

/// Every web-UI list, in the order they are shown.
std::span<const WebSchedule> web_schedules();
/// Null when no list has that name.
const WebSchedule* find_web_schedule(std::string_view name);

}  // namespace velatura::diffusion::schedules
