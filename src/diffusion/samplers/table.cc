#include <algorithm>

#include "diffusion/samplers/sampler.h"

namespace velatura::diffusion::samplers {

namespace {

using schedules::Column;
using schedules::Ending;
using schedules::Rounding;

constexpr Sampler kTable[] = {
    {.name = "euler", .automatic = "normal", .run = euler},
    {.name = "euler_a", .automatic = "normal", .run = euler_ancestral},
    {.name = "heun", .automatic = "normal", .run = heun},
    {.name = "dpm2",
     .automatic = "karras",
     .counting = {.rounding = Rounding::karras},
     .drops_next_to_last = true,
     .run = dpm2},
    {.name = "dpm2_a",
     .automatic = "karras",
     .counting = {.rounding = Rounding::karras},
     .drops_next_to_last = true,
     .run = dpm2_ancestral},
    {.name = "lms", .automatic = "normal", .run = lms},
    {.name = "dpmpp_2m",
     .automatic = "karras",
     .counting = {.column = Column::multistep, .rounding = Rounding::whole},
     .unit_variance_latents = true,
     .run = dpmpp_2m},
    {.name = "dpmpp_2s",
     .automatic = "linspace",
     .counting = {.column = Column::single_step, .rounding = Rounding::whole},
     .unit_variance_latents = true,
     .run = dpmpp_2s},
    {.name = "dpmpp_2s_a", .automatic = "karras", .run = dpmpp_2s_ancestral},
    {.name = "dpmpp_sde", .automatic = "karras", .run = dpmpp_sde},
    {.name = "dpmpp_2m_sde",
     .automatic = "exponential",
     .counting = {.column = Column::multistep, .rounding = Rounding::whole},
     .unit_variance_latents = true,
     .run = dpmpp_2m_sde},
    {.name = "dpmpp_3m_sde",
     .automatic = "exponential",
     .drops_next_to_last = true,
     .run = dpmpp_3m_sde},
    {.name = "dpm_fast", .automatic = "normal", .run = dpm_fast},
    {.name = "ddim",
     .automatic = "leading",
     .counting = {.column = Column::ddim, .ending = Ending::first_timestep},
     .unit_variance_latents = true,
     .strides = true,
     .run = ddim},
    {.name = "ddpm",
     .automatic = "leading",
     .counting = {.column = Column::ddim},
     .unit_variance_latents = true,
     .run = ddpm},
    {.name = "plms",
     .automatic = "leading",
     .counting = {.column = Column::ddim, .ending = Ending::first_timestep},
     .unit_variance_latents = true,
     .strides = true,
     .run = plms},
    {.name = "unipc",
     .automatic = "leading",
     .counting = {.column = Column::multistep, .rounding = Rounding::whole},
     .unit_variance_latents = true,
     .run = unipc},
    {.name = "deis",
     .automatic = "leading",
     .counting = {.column = Column::multistep, .ending = Ending::deis, .rounding = Rounding::whole},
     .unit_variance_latents = true,
     .run = deis},
    {.name = "lcm",
     .automatic = "leading",
     .counting = {.column = Column::consistency},
     .unit_variance_latents = true,
     .run = lcm},
};

}  // namespace

std::span<const Sampler> all() {
  return kTable;
}

const Sampler* find(std::string_view name) {
  const auto* found = std::find_if(std::begin(kTable), std::end(kTable),
                                   [&](const Sampler& sampler) { return sampler.name == name; });
  return found == std::end(kTable) ? nullptr : found;
}

}  // namespace velatura::diffusion::samplers
