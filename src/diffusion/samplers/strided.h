// Steps of a fixed number of timesteps, as diffusers' DDIM and PLMS take them (Course::stride).
#pragma once

#include "diffusion/samplers/sampler.h"

namespace velatura::diffusion::samplers {

/// The sigma at which step `step` arrives; the list's end when its timestep would be below 0.
double arrival_of(const Course& course, int step);
/// The sigma `stride` timesteps before that of step `step`: where a step that arrives there set
/// out.
double departure_to(const Course& course, int step);
/// The scaled picture x / sqrt(from^2 + 1) taken as it is for one at `to`.
Tensor relabelled(const Tensor& x, double from, double to);

}  // namespace velatura::diffusion::samplers
