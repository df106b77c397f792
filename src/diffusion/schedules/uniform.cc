// Lists that are even in the timestep or in the index of the model's own sigmas.
#include <algorithm>

#include "diffusion/schedules/schedule.h"

namespace velatura::diffusion::schedules {

namespace {

// sigma at the first `steps` of `points` timesteps evenly from the last training timestep to 0,
// then 0.
std::vector<double> even_timesteps(const NoiseSchedule& noise, int steps, int points) {
  const double last = noise.size() - 1;
  const double stride = points < 2 ? 0.0 : last / (points - 1);
  std::vector<double> sigmas;
  for (int i = 0; i < steps; ++i) sigmas.push_back(noise.web_sigma_at(last - i * stride));
  sigmas.push_back(0.0);
  return sigmas;
}

}  // namespace

std::vector<double> normal(const ScheduleInput& input) {
  return even_timesteps(input.noise, input.steps, input.steps);
}

std::vector<double> sgm_uniform(const ScheduleInput& input) {
  return even_timesteps(input.noise, input.steps, input.steps + 1);
}

std::vector<double> simple(const ScheduleInput& input) {
  const std::span<const double> table = input.noise.web_sigmas();
  const double stride = static_cast<double>(table.size()) / input.steps;
  std::vector<double> sigmas;
  for (int i = 0; i < input.steps; ++i) {
    sigmas.push_back(table[table.size() - 1 - static_cast<std::size_t>(i * stride)]);
  }
  sigmas.push_back(0.0);
  return sigmas;
}

std::vector<double> ddim_uniform(const ScheduleInput& input) {
  const std::span<const double> table = input.noise.web_sigmas();
  const std::size_t stride =
      std::max<std::size_t>(table.size() / static_cast<std::size_t>(input.steps), 1);
  std::vector<double> sigmas = {0.0};
  for (std::size_t i = 1; i < table.size(); i += stride) sigmas.push_back(table[i]);
  std::reverse(sigmas.begin(), sigmas.end());
  return sigmas;
}

}  // namespace velatura::diffusion::schedules
