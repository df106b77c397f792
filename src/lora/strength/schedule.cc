#include "lora/strength/schedule.h"

#include <algorithm>

namespace velatura::lora {

double Moment::position() const {
  return steps > 1 ? static_cast<double>(step) / static_cast<double>(steps - 1) : 0.0;
}

double Schedule::factor(const Moment& moment) const {
  if (moment.step < first_step || (end_step && moment.step >= *end_step)) return 0;
  if (points.empty()) return 1;
  const double at = axis == Axis::position ? moment.position() : moment.sigma;
  // The first point beyond: of several at one place the last one holds from there on.
  const auto beyond = std::ranges::upper_bound(points, at, {}, &Point::at);
  if (beyond == points.begin()) return points.front().factor;
  const Point& before = *std::prev(beyond);
  if (beyond == points.end()) return before.factor;
  const double share = (at - before.at) / (beyond->at - before.at);
  return before.factor + share * (beyond->factor - before.factor);
}

}  // namespace velatura::lora
