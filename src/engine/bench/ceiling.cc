#include "engine/bench/ceiling.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "base/error.h"
#include "ops/elementwise.h"
#include "ops/linear.h"

namespace velatura::engine::bench {

double seconds_of(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double median(std::vector<double> values) {
  VELATURA_CHECK(!values.empty());
  std::ranges::sort(values);
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double median_seconds(int runs, const std::function<void()>& work) {
  work();
  std::vector<double> times;
  for (int run = 0; run < runs; ++run) times.push_back(seconds_of(work));
  return median(std::move(times));
}

namespace {

struct Product {
  std::int64_t rows, columns, depth;
};
// Square ones of three sizes, and the long shape of a feed-forward: machines differ in which their
// caches like best.
constexpr std::array<Product, 4> kProducts = {
    {{1024, 1024, 1024}, {2048, 2048, 2048}, {4096, 4096, 4096}, {8192, 2560, 1280}}};

double gflops(ops::OpTable& table, const Product& product, DType type) {
  Workspace workspace;
  ops::Context context(table, workspace, type);
  Tensor a = from_f32(Tensor::zeros({product.rows, product.depth}, DType::f32), type);
  const ops::Weight weight(
      from_f32(Tensor::zeros({product.columns, product.depth}, DType::f32), type));
  std::fill_n(a.mutable_bytes(), a.byte_size(),
              std::byte{0x3c});  // an ordinary number in both types, never a denormal
  const auto run = [&] { ops::linear(context, a, weight, Tensor()); };
  run();
  constexpr int kRuns = 5;
  double best = seconds_of(run);
  for (int i = 1; i < kRuns; ++i) best = std::min(best, seconds_of(run));
  return 2.0 * static_cast<double>(product.rows * product.columns) *
         static_cast<double>(product.depth) / best / 1e9;
}

}  // namespace

void measure_ceiling(ops::OpTable& table, BenchReport& report) {
  for (const auto& [type, ceiling] :
       {std::pair(DType::f32, &report.ceiling_f32), std::pair(DType::bf16, &report.ceiling_bf16)}) {
    for (const Product& product : kProducts) {
      double speed = 0;
      try {
        speed = gflops(table, product, type);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::unsupported) throw;
        break;
      }
      report.products.push_back({fmt::format("{} {}x{}x{}", to_string(type), product.rows,
                                             product.columns, product.depth),
                                 speed});
      *ceiling = std::max(*ceiling, speed);
    }
  }
}

}  // namespace velatura::engine::bench
