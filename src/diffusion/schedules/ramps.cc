#include "diffusion/schedules/ramps.h"

#include <algorithm>
#include <boost/math/distributions/beta.hpp>
#include <cmath>

namespace velatura::diffusion::schedules {

namespace {

// numpy.linspace(0, 1, count)[i]
double fraction(int i, int count) {
  return count < 2 ? 0.0 : static_cast<double>(i) / (count - 1);
}

}  // namespace

std::vector<double> karras_ramp(double sigma_max, double sigma_min, int count) {
  constexpr double kRho = 7.0;
  const double high = std::pow(sigma_max, 1 / kRho), low = std::pow(sigma_min, 1 / kRho);
  std::vector<double> sigmas;
  for (int i = 0; i < count; ++i)
    sigmas.push_back(std::pow(high + fraction(i, count) * (low - high), kRho));
  return sigmas;
}

std::vector<double> exponential_ramp(double sigma_max, double sigma_min, int count) {
  const double high = std::log(sigma_max), low = std::log(sigma_min);
  std::vector<double> sigmas;
  for (int i = 0; i < count; ++i)
    sigmas.push_back(std::exp(high + fraction(i, count) * (low - high)));
  return sigmas;
}

std::vector<double> beta_ramp(double sigma_max, double sigma_min, int count) {
  std::vector<double> sigmas;
  for (int i = 0; i < count; ++i) {
    sigmas.push_back(sigma_min + beta_quantile(1 - fraction(i, count)) * (sigma_max - sigma_min));
  }
  return sigmas;
}

double beta_quantile(double probability) {
  const boost::math::beta_distribution<double> distribution(0.6, 0.6);
  return boost::math::quantile(distribution, std::clamp(probability, 0.0, 1.0));
}

}  // namespace velatura::diffusion::schedules
