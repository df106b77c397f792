// Lists that run between the model's largest and smallest sigma on a ramp.
#include "diffusion/schedules/ramps.h"
#include "diffusion/schedules/schedule.h"

namespace velatura::diffusion::schedules {

std::vector<double> karras(const ScheduleInput& input) {
  const std::span<const double> table = input.noise.web_sigmas();
  std::vector<double> sigmas = karras_ramp(table.back(), table.front(), input.steps);
  sigmas.push_back(0.0);
  return sigmas;
}

std::vector<double> exponential(const ScheduleInput& input) {
  const std::span<const double> table = input.noise.web_sigmas();
  std::vector<double> sigmas = exponential_ramp(table.back(), table.front(), input.steps);
  sigmas.push_back(0.0);
  return sigmas;
}

// k-diffusion's default rho is 1, and A1111 leaves it: the ramp is linear in log sigma.
std::vector<double> polyexponential(const ScheduleInput& input) {
  return exponential(input);
}

}  // namespace velatura::diffusion::schedules
