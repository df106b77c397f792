// What the benches of ops share: inputs, medians, and the ceiling that rates are shares of.
#pragma once

#include <algorithm>
#include <chrono>
#include <random>
#include <vector>

#include "ops/op_table.h"
#include "ops/weight.h"

namespace velatura::bench {

inline Tensor random_tensor(const Shape& shape, DType type, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<std::size_t>(shape.count()));
  for (float& value : values) value = normal(random);
  return from_f32(Tensor::from(values, shape), type);
}

template <typename Work>
double seconds_of(const Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The median over about half a second of runs after one that warms caches.
template <typename Work>
double median_seconds(const Work& work, double least_seconds = 0.5) {
  work();
  std::vector<double> times;
  for (double total = 0; total < least_seconds || times.size() < 5; total += times.back()) {
    times.push_back(seconds_of(work));
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2),
                   times.end());
  return times[times.size() / 2];
}

/// The same of `work` alone where `before` runs untimed before each, for what finds the caches as
/// its neighbour left them.
template <typename Before, typename Work>
double median_seconds_after(const Before& before, const Work& work, double least_seconds = 0.5) {
  before();
  work();
  std::vector<double> times;
  for (double total = 0; total < least_seconds || times.size() < 5;) {
    total += seconds_of(before);
    times.push_back(seconds_of(work));
    total += times.back();
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2),
                   times.end());
  return times[times.size() / 2];
}

/// GFLOP/s of a product of 4096 × 4096 × 4096.
inline double ceiling(ops::OpTable& table, DType type) {
  constexpr std::int64_t kSize = 4096;
  const Tensor x = random_tensor({kSize, kSize}, type, 1);
  const ops::Weight weight(random_tensor({kSize, kSize}, type, 2));
  Tensor y = Tensor::allocate({kSize, kSize}, type);
  const double seconds = median_seconds([&] { table.linear(x, weight, {}, {}, y); });
  return 2e-9 * kSize * kSize * kSize / seconds;
}

}  // namespace velatura::bench
