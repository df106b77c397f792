#include <cmath>

#include "diffusion/schedules/schedule.h"

namespace velatura::diffusion::schedules {

// Sabour et al. 2024, theorem 3.1: even in atan(sigma).
std::vector<double> kl_optimal(const ScheduleInput& input) {
  const std::span<const double> table = input.noise.web_sigmas();
  const double high = std::atan(table.back()), low = std::atan(table.front());
  std::vector<double> sigmas;
  for (int i = 0; i <= input.steps; ++i) {
    const double position = static_cast<double>(i) / input.steps;
    sigmas.push_back(std::tan(position * low + (1 - position) * high));
  }
  return sigmas;
}

}  // namespace velatura::diffusion::schedules
