// Live adapters of the cpu backend at the sizes of bench/shapes/kronecker.txt and low_rank.txt: the
// time of an update right after the layer's own product, its rate, and the share of what a large
// product reaches in the same run. "over" is what the update takes beyond its share of the
// operations at the ceiling, in milliseconds: what an adapter on many layers adds up to.
//
//   live_bench [bf16|f32] [part of a line of a list]
#include <array>
#include <cstdio>
#include <functional>
#include <string>
#include <string_view>

#include "backend/cpu/cpu.h"
#include "bench/ops/measuring.h"
#include "ops/context.h"
#include "ops/kronecker.h"
#include "ops/low_rank.h"
#include "tests/support/shapes.h"

namespace {

using namespace velatura;
using bench::median_seconds;
using bench::median_seconds_after;
using bench::random_tensor;
using ops::Weight;

ops::ConvGeometry geometry_of(const testing::ShapeCase& shape) {
  const std::vector<std::int64_t> pads =
      shape.has("pad") ? shape.list("pad") : std::vector<std::int64_t>{0};
  const auto side = [&pads](std::size_t i) {
    return static_cast<int>(pads.size() == 1 ? pads[0] : pads.at(i));
  };
  return {static_cast<int>(shape.get("stride", 1)), side(0), side(1), side(2), side(3)};
}

/// A base layer of `in` and `out` channels at a case's size.
struct Layer {
  Layer(const testing::ShapeCase& shape, std::int64_t in, std::int64_t out, DType type)
      : convolution(shape.has("kernel")),
        geometry(geometry_of(shape)),
        kernel(shape.get("kernel", 1)) {
    Shape x_shape{shape.get("rows", 1), in}, y_shape{x_shape[0], out};
    if (convolution) {
      x_shape = {shape.get("batch"), shape.get("height"), shape.get("width"), in};
      y_shape = ops::conv2d_shape(x_shape, {out, in, kernel, kernel}, geometry);
    }
    x = random_tensor(x_shape, type, 1);
    y = Tensor::zeros(y_shape, type);
    rows = y.count() / out;
  }

  bool convolution;
  ops::ConvGeometry geometry;
  std::int64_t kernel, rows = 0;
  Tensor x, y;
};

struct Machine {
  ops::OpTable& table;
  ops::Context& context;
  DType type;
  double ceiling;
};

void report(const Machine& machine, const testing::ShapeCase& shape, Layer& layer,
            std::int64_t multiplications, const std::function<void()>& update) {
  const std::int64_t in = layer.x.size(-1), out = layer.y.size(-1);
  const Weight weight(
      random_tensor(layer.convolution ? Shape{out, in, layer.kernel, layer.kernel} : Shape{out, in},
                    machine.type, 2));
  const auto run_base = [&] {
    if (layer.convolution) {
      machine.table.conv2d(layer.x, weight, {}, layer.geometry, {}, layer.y);
    } else {
      machine.table.linear(layer.x, weight, {}, {}, layer.y);
    }
  };
  const double base = median_seconds(run_base, 0.2);
  const double seconds = median_seconds_after(run_base, update, 0.4);
  const double flops = 2 * static_cast<double>(layer.rows * multiplications);
  const double rate = 1e-9 * flops / seconds;
  const double over = seconds - 1e-9 * flops / machine.ceiling;
  std::printf("%-82s base %8.3f ms, update %7.3f ms %6.1f GFLOP/s %5.1f %%, over %6.3f ms\n",
              shape.text.c_str(), 1e3 * base, 1e3 * seconds, rate, 100 * rate / machine.ceiling,
              1e3 * over);
}

void measure_kronecker(const Machine& machine, const testing::ShapeCase& shape) {
  const std::int64_t out_l = shape.get("out_l"), in_m = shape.get("in_m");
  const std::int64_t out_k = shape.get("out_k"), in_n = shape.get("in_n");
  Layer layer(shape, in_m * in_n, out_l * out_k, machine.type);
  const Weight w1(random_tensor({out_l, in_m}, machine.type, 3));
  const Weight w2(random_tensor(
      layer.convolution ? Shape{out_k, in_n, layer.kernel, layer.kernel} : Shape{out_k, in_n},
      machine.type, 4));
  const Tensor scale = Tensor::from(std::array{1e-3f}, {1});
  report(machine, shape, layer, ops::KroneckerShape::of(w1, w2).multiplications(), [&] {
    if (layer.convolution) {
      ops::kronecker_conv_update(machine.context, layer.x, w1, w2, scale, layer.geometry, layer.y);
    } else {
      ops::kronecker_update(machine.context, layer.x, w1, w2, scale, layer.y);
    }
  });
}

void measure_low_rank(const Machine& machine, const testing::ShapeCase& shape) {
  const std::int64_t in = shape.get("in"), out = shape.get("out"), rank = shape.get("rank");
  Layer layer(shape, in, out, machine.type);
  const Weight down(random_tensor(
      layer.convolution ? Shape{rank, in, layer.kernel, layer.kernel} : Shape{rank, in},
      machine.type, 3));
  const Weight up(random_tensor({out, rank}, machine.type, 4));
  const Tensor scales =
      Tensor::from(std::vector<float>(static_cast<std::size_t>(rank), 1e-3f), {rank});
  report(machine, shape, layer, down.shape().count() + up.shape().count(), [&] {
    if (layer.convolution) {
      ops::low_rank_conv_update(machine.context, layer.x, down, scales, up, layer.geometry,
                                layer.y);
    } else {
      ops::low_rank_update(machine.context, layer.x, down, scales, up, layer.y);
    }
  });
}

}  // namespace

int main(int count, char** arguments) {
  const DType type =
      count > 1 && std::string_view(arguments[1]) == "f32" ? DType::f32 : DType::bf16;
  const std::string_view wanted = count > 2 ? arguments[2] : "";
  const auto table = backend::cpu::make_cpu_backend();
  Workspace workspace;
  ops::Context context(*table, workspace, type);
  const Machine machine{*table, context, type, bench::ceiling(*table, type)};
  std::printf("%s; a product of 4096 x 4096 x 4096 reaches %.1f GFLOP/s\n",
              std::string(to_string(type)).c_str(), machine.ceiling);
  for (const std::string_view op : {"kronecker", "low_rank"}) {
    for (const testing::ShapeCase& shape : testing::read_shapes(op)) {
      if (!shape.is("large") || shape.text.find(wanted) == std::string::npos) continue;
      if (op == "kronecker") {
        measure_kronecker(machine, shape);
      } else {
        measure_low_rank(machine, shape);
      }
    }
  }
}
