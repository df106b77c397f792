// When an adapter acts: its strength over the steps of a run. Not here: how strong it is
// (apply/adapter_set.h), where in the model (block_weights.h).
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace velatura::lora {

/// Where a run is when its next step begins.
struct Moment {
  int step = 0;      ///< of the sampler, from 0
  int steps = 1;     ///< of the run
  double sigma = 0;  ///< noise level that the step starts from

  /// step / (steps − 1), in [0, 1]; 0 for a run of one step.
  double position() const;
};

/// A factor over time; 1 everywhere when nothing is set.
struct Schedule {
  enum class Axis { position, sigma };
  struct Point {
    double at = 0;  ///< on the axis
    double factor = 1;
    bool operator==(const Point&) const = default;
  };
  Axis axis = Axis::position;
  std::vector<Point> points;    ///< ascending; linear between, constant outside
  int first_step = 0;           ///< steps before have factor 0 (LBW's start=, counted from 1 there)
  std::optional<int> end_step;  ///< steps from here on have factor 0 (LBW's stop=)

  bool is_constant() const { return points.empty() && first_step == 0 && !end_step; }
  double factor(const Moment& moment) const;
  bool operator==(const Schedule&) const = default;
};

}  // namespace velatura::lora
