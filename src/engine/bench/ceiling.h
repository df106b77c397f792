// The machine's ceiling: the best of several large matrix products of each type.
#pragma once

#include <functional>

#include "ops/context.h"
#include "velatura/bench.h"

namespace velatura::engine::bench {

/// Fills the ceilings and products of `report`; bf16 stays 0 where the backend does not support it.
void measure_ceiling(ops::OpTable& table, BenchReport& report);

double seconds_of(const std::function<void()>& work);
double median(std::vector<double> values);
/// Median of `runs` timings after one unmeasured run.
double median_seconds(int runs, const std::function<void()>& work);

}  // namespace velatura::engine::bench
