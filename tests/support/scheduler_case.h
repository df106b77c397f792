// Reads the scheduler that a golden case was made with (diffusers' class name and configuration) as
// a request for ours. Used by the samplers' own goldens and by whole pictures, which are made with
// the same configurations.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "diffusion/plan.h"

namespace velatura::testing {

/// The sampler's name; empty when the class is not one of ours (flow matching).
inline std::string sampler_of(const std::string& scheduler_class, const nlohmann::json& config) {
  struct Row {
    const char* scheduler_class;
    const char* algorithm;  // empty: any
    const char* sampler;
  };
  constexpr Row kRows[] = {
      {"EulerDiscreteScheduler", "", "euler"},
      {"EulerAncestralDiscreteScheduler", "", "euler_a"},
      {"HeunDiscreteScheduler", "", "heun"},
      {"KDPM2DiscreteScheduler", "", "dpm2"},
      {"KDPM2AncestralDiscreteScheduler", "", "dpm2_a"},
      {"LMSDiscreteScheduler", "", "lms"},
      {"DPMSolverMultistepScheduler", "dpmsolver++", "dpmpp_2m"},
      {"DPMSolverMultistepScheduler", "sde-dpmsolver++", "dpmpp_2m_sde"},
      {"DPMSolverSinglestepScheduler", "dpmsolver++", "dpmpp_2s"},
      {"DDIMScheduler", "", "ddim"},
      {"DDPMScheduler", "", "ddpm"},
      {"PNDMScheduler", "", "plms"},
      {"UniPCMultistepScheduler", "", "unipc"},
      {"DEISMultistepScheduler", "", "deis"},
      {"LCMScheduler", "", "lcm"},
  };
  const std::string algorithm = config.value("algorithm_type", "");
  for (const Row& row : kRows) {
    if (scheduler_class == row.scheduler_class &&
        (*row.algorithm == '\0' || algorithm == row.algorithm)) {
      return row.sampler;
    }
  }
  return "";
}

/// `scheduler_class` and `config` as in a case's meta ("scheduler", "config").
inline diffusion::SamplingRequest scheduler_request(const std::string& scheduler_class,
                                                    const nlohmann::json& config, int steps) {
  diffusion::SamplingRequest request;
  request.sampler = sampler_of(scheduler_class, config);
  request.schedule = config.value("timestep_spacing", "linspace");
  for (const char* transform : {"karras", "exponential", "beta"}) {
    if (config.value(std::string("use_") + transform + "_sigmas", false))
      request.schedule += std::string("+") + transform;
  }
  request.steps = steps;
  request.noise = diffusion::parse_noise_schedule_config(config.dump(), "meta.config");
  return request;
}

/// The seed that a sentence of meta names ("one CPU generator, seed 77, …"). Throws where it names
/// none.
inline std::uint64_t seed_in(const std::string& sentence) {
  constexpr std::string_view kWord = "seed ";
  const std::size_t at = sentence.find(kWord);
  return std::stoull(at == std::string::npos ? std::string() : sentence.substr(at + kWord.size()));
}

}  // namespace velatura::testing
