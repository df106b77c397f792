#include "diffusion/noise_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace velatura::diffusion {

namespace {

constexpr int kMostTimesteps = 1'000'000;  // bounds memory when a configuration is hostile

// The product of all alphas of a schedule with zero terminal SNR is 0, whose sigma is infinite.
// diffusers puts 2^-24 there, web UIs 4.8973451890853435e-08 (sigma 4096 and 4519).
constexpr double kLastAlphaBar = 0x1p-24;
constexpr double kWebLastAlphaBar = 4.8973451890853435e-08;

// torch.linspace in float32 counts from both ends with fused multiply-adds.
std::vector<float> linspace_f32(double first, double last, int count) {
  const auto begin = static_cast<float>(first), end = static_cast<float>(last);
  const float step = count > 1 ? (end - begin) / static_cast<float>(count - 1) : 0.0f;
  std::vector<float> values;
  for (int i = 0; i < count; ++i) {
    values.push_back(i < count / 2 || count == 1
                         ? std::fma(step, static_cast<float>(i), begin)
                         : std::fma(-step, static_cast<float>(count - 1 - i), end));
  }
  return values;
}

// numpy.linspace in float64.
std::vector<double> linspace_f64(double first, double last, int count) {
  std::vector<double> values;
  for (int i = 0; i < count; ++i)
    values.push_back(first + i * ((last - first) / std::max(count - 1, 1)));
  return values;
}

// Nichol and Dhariwal 2021, eq. 17, betas capped at 0.999.
std::vector<double> cosine_betas(int count) {
  const auto alpha_bar = [](double time) {
    const double cosine = std::cos((time + 0.008) / 1.008 * std::numbers::pi / 2);
    return cosine * cosine;
  };
  std::vector<double> betas;
  for (int i = 0; i < count; ++i) {
    betas.push_back(std::min(
        1 - alpha_bar((i + 1.0) / count) / alpha_bar(static_cast<double>(i) / count), 0.999));
  }
  return betas;
}

std::vector<float> betas_f32(const NoiseScheduleConfig& config) {
  std::vector<float> betas;
  if (!config.trained_betas.empty()) {
    betas.assign(config.trained_betas.begin(), config.trained_betas.end());
  } else if (config.beta_schedule == "linear") {
    betas = linspace_f32(config.beta_start, config.beta_end, config.num_train_timesteps);
  } else if (config.beta_schedule == "scaled_linear") {
    betas = linspace_f32(std::sqrt(config.beta_start), std::sqrt(config.beta_end),
                         config.num_train_timesteps);
    for (float& beta : betas) beta *= beta;
  } else {
    const std::vector<double> cosine = cosine_betas(config.num_train_timesteps);
    betas.assign(cosine.begin(), cosine.end());
  }
  return betas;
}

std::vector<double> betas_f64(const NoiseScheduleConfig& config) {
  if (!config.trained_betas.empty()) return config.trained_betas;
  if (config.beta_schedule == "linear") {
    return linspace_f64(config.beta_start, config.beta_end, config.num_train_timesteps);
  }
  if (config.beta_schedule == "scaled_linear") {
    std::vector<double> betas = linspace_f64(
        std::sqrt(config.beta_start), std::sqrt(config.beta_end), config.num_train_timesteps);
    for (double& beta : betas) beta *= beta;
    return betas;
  }
  return cosine_betas(config.num_train_timesteps);
}

// The running product is kept in double and rounded to T at every element, as torch.cumprod does.
template <typename T>
std::vector<T> alpha_bars(const std::vector<T>& betas) {
  std::vector<T> products;
  double product = 1.0;
  for (T beta : betas) {
    product *= static_cast<double>(static_cast<T>(1) - beta);
    products.push_back(static_cast<T>(product));
  }
  return products;
}

// Lin et al. 2023, algorithm 1: sqrt(alpha_bar) is shifted and stretched so that its last is 0 and
// its first stays.
template <typename T>
std::vector<T> zero_terminal_snr(const std::vector<T>& bars) {
  const T first = std::sqrt(bars.front()), last = std::sqrt(bars.back());
  std::vector<T> rescaled;
  for (T bar : bars) {
    const T root = (std::sqrt(bar) - last) * (first / (first - last));
    rescaled.push_back(root * root);
  }
  return rescaled;
}

// diffusers goes back to betas and multiplies them up again, which moves the last digits of
// float32.
std::vector<float> betas_of(const std::vector<float>& bars) {
  std::vector<float> betas;
  for (std::size_t i = 0; i < bars.size(); ++i) {
    betas.push_back(1.0f - (i == 0 ? bars[0] : bars[i] / bars[i - 1]));
  }
  return betas;
}

void check(const NoiseScheduleConfig& config) {
  const std::size_t timesteps =
      config.trained_betas.empty()
          ? static_cast<std::size_t>(std::max(config.num_train_timesteps, 0))
          : config.trained_betas.size();
  if (timesteps < 2 || timesteps > kMostTimesteps) {
    fail(ErrorKind::invalid_argument, "noise schedule: {} training timesteps, expected 2 to {}",
         timesteps, kMostTimesteps);
  }
  const bool known = config.beta_schedule == "linear" || config.beta_schedule == "scaled_linear" ||
                     config.beta_schedule == "squaredcos_cap_v2";
  if (config.trained_betas.empty() && !known) {
    fail(ErrorKind::unsupported,
         "noise schedule: beta_schedule '{}' is not known; expected linear, scaled_linear or "
         "squaredcos_cap_v2",
         config.beta_schedule);
  }
  for (double beta : betas_f64(config)) {
    if (!(beta > 0 && beta < 1)) {
      fail(ErrorKind::invalid_argument,
           "noise schedule: a beta is {}, expected 0 < beta < 1 everywhere", beta);
    }
  }
}

// Position of x in rising `table`, interpolated linearly, clamped to the ends.
double position_in(const std::vector<double>& table, double x) {
  if (!(x > table.front())) return 0.0;
  if (x >= table.back()) return static_cast<double>(table.size() - 1);
  const auto above = std::upper_bound(table.begin(), table.end(), x);
  const auto low = static_cast<std::size_t>(above - table.begin()) - 1;
  // Weighted as k-diffusion's sigma_to_t does it: the two products, not low + w, decide the last
  // digit.
  const double weight = (table[low] - x) / (table[low] - table[low + 1]);
  return (1 - weight) * static_cast<double>(low) + weight * static_cast<double>(low + 1);
}

struct Between {
  std::size_t low;
  double weight;  // of low + 1
};

Between between(double timestep, std::size_t size) {
  const double last = static_cast<double>(size - 1);
  const double clamped = std::clamp(timestep, 0.0, last);
  const auto low = std::min(static_cast<std::size_t>(clamped), size - 2);
  return {low, clamped - static_cast<double>(low)};
}

}  // namespace

NoiseSchedule::NoiseSchedule(const NoiseScheduleConfig& config) : config_(config) {
  check(config_);
  std::vector<float> bars = alpha_bars(betas_f32(config_));
  std::vector<double> web_bars = alpha_bars(betas_f64(config_));
  if (config_.rescale_betas_zero_snr) {
    bars = alpha_bars(betas_of(zero_terminal_snr(bars)));
    bars.back() = static_cast<float>(kLastAlphaBar);
    web_bars = zero_terminal_snr(web_bars);
    web_bars.back() = kWebLastAlphaBar;
  }
  for (float bar : bars) {
    const float sigma = std::sqrt((1.0f - bar) / bar);
    sigmas_.push_back(static_cast<double>(sigma));
    log_sigmas_.push_back(static_cast<double>(std::log(sigma)));
  }
  for (double bar : web_bars) web_sigmas_.push_back(std::sqrt((1.0 - bar) / bar));
  const bool rises = std::is_sorted(sigmas_.begin(), sigmas_.end());
  if (!rises || !std::isfinite(sigmas_.back()) || !(sigmas_.front() > 0)) {
    fail(ErrorKind::invalid_argument,
         "noise schedule: the betas give sigmas from {} to {}, expected finite and rising",
         sigmas_.front(), sigmas_.back());
  }
}

double NoiseSchedule::sigma_at(double timestep) const {
  const auto [low, weight] = between(timestep, sigmas_.size());
  return sigmas_[low] + (sigmas_[low + 1] - sigmas_[low]) * weight;
}

double NoiseSchedule::web_sigma_at(double timestep) const {
  const auto [low, weight] = between(timestep, web_sigmas_.size());
  return std::exp((1 - weight) * std::log(web_sigmas_[low]) +
                  weight * std::log(web_sigmas_[low + 1]));
}

double NoiseSchedule::timestep_of(double sigma) const {
  return position_in(log_sigmas_, std::log(std::max(sigma, 1e-10)));
}

}  // namespace velatura::diffusion
