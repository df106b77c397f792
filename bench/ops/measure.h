// What the benches of ops share: inputs, a clock, the best product of the backend to compare with.
#pragma once

#include <algorithm>
#include <chrono>
#include <random>
#include <vector>

#include "ops/context.h"
#include "ops/weight.h"

namespace velatura::bench {

inline Tensor normal_tensor(const Shape& shape, DType type, unsigned seed, float deviation = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, deviation);
  std::vector<float> values(static_cast<std::size_t>(shape.count()));
  for (float& value : values) value = normal(random);
  return from_f32(Tensor::from(values, shape), type);
}

/// The median over about a third of a second of runs, at least three, after one that fills caches
/// and prepares weights.
template <typename Work>
double median_seconds(const Work& work) {
  using Clock = std::chrono::steady_clock;
  work();
  std::vector<double> times;
  for (double total = 0; total < 0.33 || times.size() < 3; total += times.back()) {
    const auto start = Clock::now();
    work();
    times.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  }
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

/// GFLOP/s of a large square product.
inline double ceiling(ops::Context& context) {
  constexpr std::int64_t kSize = 4096;
  const Tensor x = normal_tensor({kSize, kSize}, context.compute(), 1);
  const ops::Weight weight(normal_tensor({kSize, kSize}, context.compute(), 2));
  const double seconds = median_seconds([&] { ops::linear(context, x, weight, {}, {}); });
  return 2e-9 * kSize * kSize * kSize / seconds;
}

}  // namespace velatura::bench
