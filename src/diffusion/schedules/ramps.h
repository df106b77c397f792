// Falling runs of sigmas between two ends, shared by the web UIs' lists and diffusers' transforms.
#pragma once

#include <vector>

namespace velatura::diffusion::schedules {

/// `count` >= 1 values from sigma_max to sigma_min, both included; one value alone is sigma_max.
/// Sigmas > 0.

/// Karras et al. 2022, eq. 5, rho = 7.
std::vector<double> karras_ramp(double sigma_max, double sigma_min, int count);
/// Evenly spaced in log sigma.
std::vector<double> exponential_ramp(double sigma_max, double sigma_min, int count);
/// Quantiles of Beta(0.6, 0.6) (Lee et al. 2024, "Beta sampling is all you need"), stretched over
/// the range.
std::vector<double> beta_ramp(double sigma_max, double sigma_min, int count);

/// The quantile of Beta(0.6, 0.6) at probability in [0, 1].
double beta_quantile(double probability);

}  // namespace velatura::diffusion::schedules
