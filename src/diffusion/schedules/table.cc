#include <algorithm>

#include "diffusion/schedules/schedule.h"

namespace velatura::diffusion::schedules {

namespace {

constexpr WebSchedule kTable[] = {
    {.name = "normal", .sigmas = normal},
    {.name = "karras", .sigmas = karras},
    {.name = "exponential", .sigmas = exponential},
    {.name = "polyexponential", .sigmas = polyexponential},
    {.name = "sgm_uniform", .sigmas = sgm_uniform},
    {.name = "simple", .sigmas = simple},
    {.name = "ddim_uniform", .sigmas = ddim_uniform},
    {.name = "beta", .sigmas = beta},
    {.name = "kl_optimal", .sigmas = kl_optimal},
    {.name = "align_your_steps", .sigmas = align_your_steps},
};

}  // namespace

std::span<const WebSchedule> web_schedules() {
  return kTable;
}

const WebSchedule* find_web_schedule(std::string_view name) {
  const auto* found =
      std::find_if(std::begin(kTable), std::end(kTable),
                   [&](const WebSchedule& schedule) { return schedule.name == name; });
  return found == std::end(kTable) ? nullptr : found;
}

}  // namespace velatura::diffusion::schedules
