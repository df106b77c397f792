#include "diffusion/schedules/spaced.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "base/error.h"
#include "diffusion/schedules/ramps.h"

namespace velatura::diffusion::schedules {

namespace {

struct SpacingName {
  std::string_view name;
  Spacing spacing;
};
constexpr SpacingName kSpacings[] = {{"leading", Spacing::leading},
                                     {"trailing", Spacing::trailing},
                                     {"linspace", Spacing::linspace}};

struct TransformName {
  std::string_view suffix;
  Transform transform;
};
constexpr TransformName kTransforms[] = {{"", Transform::none},
                                         {"+karras", Transform::karras},
                                         {"+exponential", Transform::exponential},
                                         {"+beta", Transform::beta}};

void check_steps(int steps, int most, std::string_view what) {
  if (steps > most)
    fail(ErrorKind::invalid_argument, "{} steps: {} allows at most {}", steps, what, most);
}

// numpy.round, half to even, is nearbyint in the default rounding mode.
std::vector<double> leading(int train, int steps, int divisor, int first, int offset) {
  check_steps(divisor, train, "the schedule 'leading'");
  const int stride = train / divisor;
  std::vector<double> timesteps;
  for (int i = steps - 1; i >= 0; --i) timesteps.push_back((i + first) * stride + offset);
  return timesteps;
}

// numpy.arange(train, 0, -train / steps) computes element i as first + i * (second - first).
std::vector<double> trailing(int train, int steps) {
  check_steps(steps, train, "the schedule 'trailing'");
  const double first = train;
  const double second = first - first / steps;
  const double difference = second - first;
  std::vector<double> timesteps;
  for (int i = 0; i < steps; ++i)
    timesteps.push_back(std::nearbyint(i == 1 ? second : first + i * difference) - 1);
  return timesteps;
}

// The last `steps` of numpy.linspace(0, train - 1, points), falling. A single point is 0.
std::vector<double> linspace(int train, int steps, int points, bool whole) {
  const double last = train - 1;
  const double stride = points < 2 ? 0.0 : last / (points - 1);
  std::vector<double> timesteps;
  for (int i = points - 1; i >= points - steps; --i) {
    const double timestep = i == points - 1 && points > 1 ? last : i * stride;
    timesteps.push_back(whole ? std::nearbyint(timestep)
                              : static_cast<double>(static_cast<float>(timestep)));
  }
  return timesteps;
}

// Luo et al. 2023: the distilled model knows original_inference_steps timesteps; n of them, evenly
// by index.
std::vector<double> consistency(const NoiseSchedule& noise, int steps) {
  const int original = noise.config().original_inference_steps;
  check_steps(original, noise.size(), "LCM's original_inference_steps");
  check_steps(steps, original, "the sampler 'lcm' (original_inference_steps)");
  const int stride = noise.size() / original;
  const double index_stride = static_cast<double>(original) / steps;
  std::vector<double> timesteps;
  for (int i = 0; i < steps; ++i)
    timesteps.push_back((original - static_cast<int>(i * index_stride)) * stride - 1);
  return timesteps;
}

std::vector<double> spaced_timesteps(Spacing spacing, Column column, const NoiseSchedule& noise,
                                     int steps) {
  const int train = noise.size();
  const int offset = noise.config().steps_offset;
  if (column == Column::consistency) return consistency(noise, steps);
  if (column == Column::single_step) return linspace(train, steps, steps + 1, true);
  const bool multistep = column == Column::multistep;
  switch (spacing) {
    case Spacing::leading:
      return multistep ? leading(train, steps, steps + 1, 1, offset)
                       : leading(train, steps, steps, 0, offset);
    case Spacing::trailing:
      return trailing(train, steps);
    case Spacing::linspace:
      return multistep ? linspace(train, steps, steps + 1, true)
                       : linspace(train, steps, steps, column == Column::ddim);
  }
  fail(ErrorKind::internal, "spacing {} has no list", static_cast<int>(spacing));
}

std::vector<double> transformed(Transform transform, double high, double low, int steps) {
  switch (transform) {
    case Transform::karras:
      return karras_ramp(high, low, steps);
    case Transform::exponential:
      return exponential_ramp(high, low, steps);
    case Transform::beta:
      return beta_ramp(high, low, steps);
    case Transform::none:
      break;
  }
  fail(ErrorKind::internal, "transform {} has no ramp", static_cast<int>(transform));
}

double rounded(double timestep, Rounding rounding, Transform transform) {
  if (rounding == Rounding::none) return timestep;
  if (transform == Transform::karras) return std::nearbyint(timestep);
  return rounding == Rounding::whole ? std::trunc(timestep) : timestep;
}

// With zero terminal SNR diffusers' DDIM, DDPM and LCM keep the last cumulative product at 0
// exactly, whose sigma is infinite. This one stands for it: what is left of the picture in it,
// 2^-24, is below float32's resolution.
constexpr double kPureNoise = 0x1p24;

double sigma_of(double timestep, Column column, const NoiseSchedule& noise) {
  const bool exact_zero = column == Column::ddim || column == Column::consistency;
  const bool last = timestep >= noise.size() - 1;
  return exact_zero && last && noise.config().rescale_betas_zero_snr ? kPureNoise
                                                                     : noise.sigma_at(timestep);
}

double last_sigma(const Counting& counting, Transform transform, const NoiseSchedule& noise,
                  double before) {
  switch (counting.ending) {
    case Ending::zero:
      return 0.0;
    case Ending::first_timestep:
      return noise.config().set_alpha_to_one ? 0.0 : noise.sigma_min();
    case Ending::deis:
      return transform == Transform::none ? noise.sigma_min() : before;
  }
  fail(ErrorKind::internal, "ending {} has no sigma", static_cast<int>(counting.ending));
}

}  // namespace

std::optional<SpacedName> parse_spaced_name(std::string_view name) {
  for (const SpacingName& spacing : kSpacings) {
    if (!name.starts_with(spacing.name)) continue;
    for (const TransformName& transform : kTransforms) {
      if (name.substr(spacing.name.size()) == transform.suffix)
        return SpacedName{spacing.spacing, transform.transform};
    }
  }
  return std::nullopt;
}

std::vector<std::string> spaced_names() {
  std::vector<std::string> names;
  for (const SpacingName& spacing : kSpacings) {
    for (const TransformName& transform : kTransforms) {
      names.push_back(std::string(spacing.name).append(transform.suffix));
    }
  }
  return names;
}

SigmaList spaced_list(SpacedName name, const Counting& counting, const NoiseSchedule& noise,
                      int steps) {
  VELATURA_CHECK(steps >= 1);
  SigmaList list;
  list.timesteps = spaced_timesteps(name.spacing, counting.column, noise, steps);
  if (name.transform == Transform::none) {
    std::transform(list.timesteps.begin(), list.timesteps.end(), std::back_inserter(list.sigmas),
                   [&](double timestep) { return sigma_of(timestep, counting.column, noise); });
  } else {
    const bool whole_range =
        counting.column == Column::multistep || counting.column == Column::single_step;
    const double high = whole_range ? noise.sigma_max() : noise.sigma_at(list.timesteps.front());
    const double low = whole_range ? noise.sigma_min() : noise.sigma_at(list.timesteps.back());
    list.sigmas = transformed(name.transform, high, low, steps);
    std::transform(list.sigmas.begin(), list.sigmas.end(), list.timesteps.begin(),
                   [&](double sigma) {
                     return rounded(noise.timestep_of(sigma), counting.rounding, name.transform);
                   });
  }
  list.sigmas.push_back(last_sigma(counting, name.transform, noise, list.sigmas.back()));
  // The schedulers hold both in float32.
  for (double& sigma : list.sigmas) sigma = static_cast<float>(sigma);
  for (double& timestep : list.timesteps) timestep = static_cast<float>(timestep);
  return list;
}

}  // namespace velatura::diffusion::schedules
