// The lists of timesteps and sigmas that diffusers' schedulers make: a spacing of timesteps, and
// perhaps a transform of the sigmas. The schedulers differ in how they count, so a list belongs to
// a sampler. Source: diffusers 0.37.1.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "diffusion/noise_schedule.h"

namespace velatura::diffusion::schedules {

enum class Spacing { leading, trailing, linspace };
enum class Transform { none, karras, exponential, beta };

struct SpacedName {
  Spacing spacing;
  Transform transform;
};
/// "leading", "trailing+karras", …; nothing for other words.
std::optional<SpacedName> parse_spaced_name(std::string_view name);
/// Every name that parse_spaced_name knows.
std::vector<std::string> spaced_names();

/// How a scheduler counts its timesteps.
enum class Column {
  euler,  ///< n timesteps, linspace unrounded; a transform runs between the list's own first and
          ///< last sigma
  ddim,   ///< the same, whole timesteps
  multistep,    ///< n of n + 1 whole timesteps; a transform runs between the model's largest and
                ///< smallest sigma
  single_step,  ///< linspace of `multistep`, whatever the spacing
  consistency,  ///< LCM: n of the distilled model's own steps, whatever the spacing
};

/// The sigma a list ends at.
enum class Ending {
  zero,
  first_timestep,  ///< sigma(0), or 0 when the configuration sets alpha to one
  deis,            ///< sigma(0); with a transform the last sigma again
};

/// What a transform makes of the interpolated timesteps.
enum class Rounding {
  none,
  karras,  ///< rounded with karras only
  whole,   ///< rounded with karras, cut to whole numbers with the others (an integer tensor holds
           ///< them)
};

struct Counting {
  Column column = Column::euler;
  Ending ending = Ending::zero;
  Rounding rounding = Rounding::none;
};

/// What a run visits.
struct SigmaList {
  std::vector<double> sigmas;  ///< falling, one more than timesteps; the last is where the run ends
  std::vector<double> timesteps;  ///< what the model is told at sigmas[i]
};

/// `steps` >= 1. Throws invalid_argument when the model has fewer timesteps than asked for.
SigmaList spaced_list(SpacedName name, const Counting& counting, const NoiseSchedule& noise,
                      int steps);

}  // namespace velatura::diffusion::schedules
