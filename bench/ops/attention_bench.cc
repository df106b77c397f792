// Attention of the cpu backend at the sizes of bench/shapes/attention.txt: GFLOP/s (4 · queries ·
// keys · channels a picture, causal or not) and the share of what a large product of the same
// backend reaches in the same run.
//
//   attention_bench [bf16|f32] [part of a line of the list]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "backend/cpu/cpu.h"
#include "ops/weight.h"
#include "tests/support/shapes.h"

namespace {

using namespace velatura;

Tensor random_tensor(const Shape& shape, DType type, unsigned seed) {
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
double median_seconds(const Work& work) {
  work();
  std::vector<double> times;
  for (double total = 0; total < 0.5 || times.size() < 5; total += times.back()) {
    times.push_back(seconds_of(work));
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2),
                   times.end());
  return times[times.size() / 2];
}

double ceiling(ops::OpTable& table, DType type) {
  constexpr std::int64_t kSize = 4096;
  const Tensor x = random_tensor({kSize, kSize}, type, 1);
  const ops::Weight weight(random_tensor({kSize, kSize}, type, 2));
  Tensor y = Tensor::allocate({kSize, kSize}, type);
  const double seconds = median_seconds([&] { table.linear(x, weight, {}, {}, y); });
  return 2e-9 * kSize * kSize * kSize / seconds;
}

/// ‖a − b‖ / ‖b‖.
double relative_error(const Tensor& a, const Tensor& b) {
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < b.floats().size(); ++i) {
    difference += std::pow(double{a.floats()[i]} - b.floats()[i], 2);
    norm += std::pow(double{b.floats()[i]}, 2);
  }
  return std::sqrt(difference / norm);
}

void measure(ops::OpTable& table, const testing::ShapeCase& shape, DType type, double best) {
  const std::int64_t batch = shape.get("batch"), queries = shape.get("queries");
  const std::int64_t keys = shape.get("keys"), heads = shape.get("heads");
  const std::int64_t channels = heads * shape.get("width");
  const Tensor q = random_tensor({batch, queries, channels}, type, 3);
  const Tensor k = random_tensor({batch, keys, channels}, type, 4);
  const Tensor v = random_tensor({batch, keys, channels}, type, 5);
  const ops::AttentionArgs args{.heads = static_cast<int>(heads),
                                .causal = shape.get("causal", 0) != 0,
                                .scale = 1.0f / std::sqrt(static_cast<float>(channels / heads))};
  Tensor y = Tensor::allocate(q.shape(), type);
  const double seconds = median_seconds([&] { table.attention(q, k, v, args, y); });
  const double rate = 4e-9 * static_cast<double>(batch * queries * keys * channels) / seconds;
  std::printf("%-66s %9.3f ms %8.1f GFLOP/s %5.1f %%", shape.text.c_str(), 1e3 * seconds, rate,
              100 * rate / best);
  if (type ==
      DType::bf16) {  // f32 arithmetic on the same inputs: a fast wrong answer must not count
    Tensor exact = Tensor::allocate(q.shape(), DType::f32);
    table.attention(to_f32(q), to_f32(k), to_f32(v), args, exact);
    std::printf("   error %.1e", relative_error(to_f32(y), exact));
  }
  std::printf("\n");
}

}  // namespace

int main(int count, char** arguments) {
  const DType type =
      count > 1 && std::string_view(arguments[1]) == "f32" ? DType::f32 : DType::bf16;
  const std::string_view wanted = count > 2 ? arguments[2] : "";
  const auto table = backend::cpu::make_cpu_backend();
  const double best = ceiling(*table, type);
  std::printf("%s; a product of 4096 x 4096 x 4096 reaches %.1f GFLOP/s\n",
              std::string(to_string(type)).c_str(), best);
  for (const testing::ShapeCase& shape : testing::read_shapes("attention")) {
    if (shape.is("large") && shape.text.find(wanted) != std::string::npos) {
      measure(*table, shape, type, best);
    }
  }
}
