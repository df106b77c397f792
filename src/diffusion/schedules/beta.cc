#include <cmath>

#include "diffusion/schedules/ramps.h"
#include "diffusion/schedules/schedule.h"

namespace velatura::diffusion::schedules {

// Quantiles of Beta(0.6, 0.6) at 1 - i / n taken as timesteps, rounded (half to even) to the
// model's own sigmas.
std::vector<double> beta(const ScheduleInput& input) {
  const std::span<const double> table = input.noise.web_sigmas();
  std::vector<double> sigmas;
  double previous = -1;
  for (int i = 0; i < input.steps; ++i) {
    const double probability = 1.0 - static_cast<double>(i) / input.steps;
    const double timestep =
        std::nearbyint(beta_quantile(probability) * static_cast<double>(table.size() - 1));
    if (timestep != previous) sigmas.push_back(table[static_cast<std::size_t>(timestep)]);
    previous = timestep;
  }
  sigmas.push_back(0.0);
  return sigmas;
}

}  // namespace velatura::diffusion::schedules
