#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "diffusion/schedules/schedule.h"

namespace velatura::diffusion::schedules {

// The published sigmas, log-linear in the position, resampled to the wanted count.
std::vector<double> align_your_steps(const ScheduleInput& input) {
  const std::span<const double> published = input.align_your_steps;
  VELATURA_CHECK(published.size() >= 2);
  const double last = static_cast<double>(published.size() - 1);
  std::vector<double> sigmas;
  for (int i = 0; i < input.steps; ++i) {
    const double position = input.steps == 1 ? 0.0 : last * i / (input.steps - 1);
    const auto low = std::min(static_cast<std::size_t>(position), published.size() - 2);
    const double weight = position - static_cast<double>(low);
    sigmas.push_back(
        std::exp((1 - weight) * std::log(published[low]) + weight * std::log(published[low + 1])));
  }
  sigmas.push_back(0.0);
  return sigmas;
}

}  // namespace velatura::diffusion::schedules
