// How much noise the model was trained with at each timestep, and the way between timestep and
// sigma. Not here: which timesteps a run visits (schedules/).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "diffusion/prediction.h"

namespace velatura::diffusion {

/// The part of a diffusers scheduler_config.json that belongs to the model and not to the sampler.
/// The defaults are Stable Diffusion's.
struct NoiseScheduleConfig {
  int num_train_timesteps = 1000;
  double beta_start = 0.00085;
  double beta_end = 0.012;
  std::string beta_schedule = "scaled_linear";  ///< linear, scaled_linear or squaredcos_cap_v2
  std::vector<double> trained_betas;  ///< not empty: used instead of the formula, one a timestep
  Prediction prediction = Prediction::epsilon;
  int steps_offset = 1;           ///< added to the timesteps of `leading`
  bool set_alpha_to_one = false;  ///< DDIM and PLMS end at sigma 0 instead of sigma(0)
  bool rescale_betas_zero_snr =
      false;  ///< Lin et al. 2023, algorithm 1: the last timestep is pure noise
  int original_inference_steps = 50;  ///< LCM: the distilled model's own steps
  double timestep_scaling = 10.0;     ///< LCM: of its boundary condition
};

/// Reads scheduler_config.json. Keys that are absent keep the defaults above; a key of the wrong
/// type, a number out of range or an unknown beta schedule is bad_file with the key's name. `where`
/// names the file in messages.
NoiseScheduleConfig parse_noise_schedule_config(std::string_view json, std::string_view where);

/// sigma(t) = sqrt((1 - a) / a), a the cumulative product of 1 - beta up to t. Immutable,
/// thread-safe.
///
/// Two tables of the same formula: diffusers computes it in float32, web UIs in float64. They part
/// at the smallest sigmas, where 1 - a loses digits (1.3e-5 at sigma(0)), so each source's lists
/// are made from its own table.
class NoiseSchedule {
 public:
  /// Throws invalid_argument for a configuration that gives no rising, finite sigmas.
  explicit NoiseSchedule(const NoiseScheduleConfig& config);

  const NoiseScheduleConfig& config() const { return config_; }
  int size() const { return static_cast<int>(sigmas_.size()); }  ///< number of training timesteps

  std::span<const double> sigmas() const { return sigmas_; }  ///< diffusers' table, by timestep
  std::span<const double> web_sigmas() const {
    return web_sigmas_;
  }  ///< the web UIs' table, by timestep
  double sigma_min() const { return sigmas_.front(); }
  double sigma_max() const { return sigmas_.back(); }

  /// Linear interpolation of sigma over t (numpy.interp), clamped to the ends: diffusers' rule.
  double sigma_at(double timestep) const;
  /// Linear interpolation of log sigma over t: k-diffusion's rule, on the web UIs' table.
  double web_sigma_at(double timestep) const;
  /// The timestep whose interpolated log sigma is that of `sigma`, clamped to the ends; any sigma >
  /// 0 or 0.
  double timestep_of(double sigma) const;

 private:
  NoiseScheduleConfig config_;
  std::vector<double> sigmas_;
  std::vector<double> log_sigmas_;  // rounded to float32, as numpy's log of the float32 table is
  std::vector<double> web_sigmas_;
};

}  // namespace velatura::diffusion
