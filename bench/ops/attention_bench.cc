// Attention of the cpu backend at the sizes of bench/shapes/attention.txt: GFLOP/s (4 · queries ·
// keys · channels a picture, causal or not) and the share of what a large product of the same
// backend reaches in the same run.
//
//   attention_bench [bf16|f32] [part of a line of the list]
#include <cmath>
#include <cstdio>
#include <string>
#include <string_view>

#include "backend/cpu/cpu.h"
#include "bench/ops/measuring.h"
#include "tests/support/shapes.h"

namespace {

using namespace velatura;
using bench::ceiling;
using bench::median_seconds;
using bench::random_tensor;

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
