// Products, convolutions, live adapters and norms of the cpu backend at the large sizes of
// bench/shapes: time, GFLOP/s of the direct form and their share of a large product of the same
// backend in the same run; GB/s of norms and gating.
//
//   products_bench [bf16|f32] [op] [part of a line of the list]
#include <cmath>
#include <cstdio>
#include <string>
#include <string_view>

#include "backend/cpu/cpu.h"
#include "bench/ops/measure.h"
#include "ops/low_rank.h"
#include "tests/support/shapes.h"

namespace {

using namespace velatura;
using testing::ShapeCase;

ops::Activation activation_of(const ShapeCase& shape) {
  const std::string name = shape.word("activation", "none");
  if (name == "silu") return ops::Activation::silu;
  if (name == "quick_gelu") return ops::Activation::quick_gelu;
  if (name == "leaky_relu") return ops::Activation::leaky_relu;
  return ops::Activation::none;
}

struct Result {
  double seconds = 0, flops = 0, bytes = 0;
};

Tensor weight_values(const Shape& shape, DType type) {
  const double terms = static_cast<double>(shape.count() / shape[0]);
  return bench::normal_tensor(shape, type, 2, static_cast<float>(1 / std::sqrt(terms)));
}

Result linear(ops::Context& context, const ShapeCase& shape) {
  const std::int64_t rows = shape.get("rows"), in = shape.get("in"), out = shape.get("out");
  const Tensor x = bench::normal_tensor({rows, in}, context.compute(), 1);
  const ops::Weight weight(weight_values({out, in}, context.compute()));
  const Tensor bias = bench::normal_tensor({out}, DType::f32, 3);
  const Tensor residual = bench::normal_tensor({rows, out}, context.compute(), 4);
  const ops::Epilogue epilogue{.activation = activation_of(shape),
                               .residual = shape.get("residual", 0) ? &residual : nullptr};
  const Tensor used_bias = shape.get("bias", 1) ? bias : Tensor();
  return {.seconds =
              bench::median_seconds([&] { ops::linear(context, x, weight, used_bias, epilogue); }),
          .flops = 2.0 * static_cast<double>(rows * in * out)};
}

Result conv2d(ops::Context& context, const ShapeCase& shape) {
  const std::int64_t in = shape.get("in"), out = shape.get("out"), kernel = shape.get("kernel");
  ops::ConvGeometry geometry{.stride = static_cast<int>(shape.get("stride", 1))};
  if (shape.has("pad")) {
    const auto pads = shape.list("pad");
    const auto side = [&](std::size_t i) {
      return static_cast<int>(pads[pads.size() == 1 ? 0 : i]);
    };
    geometry.pad_top = side(0);
    geometry.pad_left = side(1);
    geometry.pad_bottom = side(2);
    geometry.pad_right = side(3);
  }
  const Tensor x = bench::normal_tensor(
      {shape.get("batch"), shape.get("height"), shape.get("width"), in}, context.compute(), 1);
  const ops::Weight weight(weight_values({out, in, kernel, kernel}, context.compute()));
  const Tensor bias = bench::normal_tensor({out}, DType::f32, 3);
  const Shape y = ops::conv2d_shape(x.shape(), weight.shape(), geometry);
  const Tensor residual =
      shape.get("residual", 0) ? bench::normal_tensor(y, context.compute(), 4) : Tensor();
  const ops::Epilogue epilogue{.activation = activation_of(shape),
                               .residual = residual.defined() ? &residual : nullptr};
  return {.seconds = bench::median_seconds(
              [&] { ops::conv2d(context, x, weight, bias, geometry, epilogue); }),
          .flops = 2.0 * static_cast<double>(y.count() * in * kernel * kernel)};
}

/// What live adapters add to their layer: the time with them less the time without.
Result low_rank(ops::Context& context, const ShapeCase& shape) {
  const std::int64_t in = shape.get("in"), out = shape.get("out"), rank = shape.get("rank");
  if (shape.has("kernel")) return {};
  const std::int64_t rows = shape.get("rows");
  const Tensor x = bench::normal_tensor({2, rows / 2, in}, context.compute(), 1);
  const ops::Weight weight(weight_values({out, in}, context.compute()));
  const ops::Weight down(weight_values({rank, in}, DType::f32));
  const ops::Weight up(weight_values({out, rank}, DType::f32));
  const Tensor scales = bench::normal_tensor({rank}, DType::f32, 3, 0.1f);
  const double plain = bench::median_seconds([&] { ops::linear(context, x, weight, {}, {}); });
  const double adapted = bench::median_seconds([&] {
    ops::linear_low_rank(context, x, weight, {}, {down, scales, up});
  });
  return {.seconds = adapted - plain, .flops = 2.0 * static_cast<double>(rows * rank * (in + out))};
}

Result group_norm(ops::Context& context, const ShapeCase& shape) {
  const std::int64_t channels = shape.get("channels");
  const Tensor x =
      bench::normal_tensor({shape.get("batch"), shape.get("height"), shape.get("width"), channels},
                           context.compute(), 1);
  const Tensor gamma = bench::normal_tensor({channels}, DType::f32, 2);
  const Tensor beta = bench::normal_tensor({channels}, DType::f32, 3);
  const ops::GroupNormArgs args{.gamma = gamma,
                                .beta = beta,
                                .groups = static_cast<int>(shape.get("groups")),
                                .activation = activation_of(shape)};
  return {.seconds = bench::median_seconds([&] { ops::group_norm(context, x, args); }),
          .bytes = 3.0 * static_cast<double>(x.byte_size())};
}

Result layer_norm(ops::Context& context, const ShapeCase& shape) {
  const std::int64_t channels = shape.get("channels");
  const Tensor x = bench::normal_tensor({shape.get("rows"), channels}, context.compute(), 1);
  const Tensor gamma = bench::normal_tensor({channels}, DType::f32, 2);
  return {
      .seconds = bench::median_seconds([&] { ops::layer_norm(context, x, gamma, gamma, 1e-5f); }),
      .bytes = 2.0 * static_cast<double>(x.byte_size())};
}

Result geglu(ops::Context& context, const ShapeCase& shape) {
  const Tensor x =
      bench::normal_tensor({shape.get("rows"), 2 * shape.get("channels")}, context.compute(), 1);
  return {.seconds = bench::median_seconds([&] { ops::geglu(context, x); }),
          .bytes = 1.5 * static_cast<double>(x.byte_size())};
}

struct Row {
  std::string_view op;
  Result (*measure)(ops::Context&, const ShapeCase&);
};
constexpr Row kRows[] = {{"linear", linear},         {"conv2d", conv2d},
                         {"low_rank", low_rank},     {"group_norm", group_norm},
                         {"layer_norm", layer_norm}, {"geglu", geglu}};

void print(std::string_view op, const ShapeCase& shape, const Result& result, double best) {
  std::printf("%-10s %-72s %9.3f ms", std::string(op).c_str(), shape.text.c_str(),
              1e3 * result.seconds);
  if (result.flops > 0) {
    const double rate = 1e-9 * result.flops / result.seconds;
    std::printf(" %8.1f GFLOP/s %6.1f %%", rate, 100 * rate / best);
  }
  if (result.bytes > 0) std::printf(" %8.1f GB/s", 1e-9 * result.bytes / result.seconds);
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace

int main(int count, char** arguments) {
  const DType type =
      count > 1 && std::string_view(arguments[1]) == "f32" ? DType::f32 : DType::bf16;
  const std::string_view op = count > 2 ? arguments[2] : "", part = count > 3 ? arguments[3] : "";
  const auto table = backend::cpu::make_cpu_backend();
  Workspace workspace;
  ops::Context context(*table, workspace, type);
  const double best = bench::ceiling(context);
  std::printf("%s; a product of 4096 x 4096 x 4096 reaches %.1f GFLOP/s\n",
              std::string(to_string(type)).c_str(), best);
  for (const Row& row : kRows) {
    if (!op.empty() && op != row.op) continue;
    for (const ShapeCase& shape : testing::read_shapes(row.op)) {
      if (!shape.is("large") || shape.text.find(part) == std::string::npos) continue;
      const Result result = row.measure(context, shape);
      if (result.seconds != 0) print(row.op, shape, result, best);
    }
  }
}
