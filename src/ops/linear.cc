#include "ops/linear.h"

#include "ops/check.h"
#include "ops/elementwise.h"
#include "ops/low_rank.h"

namespace velatura::ops {

Tensor linear(Context& context, const Tensor& x, const Weight& weight, const Tensor& bias,
              const Epilogue& epilogue) {
  expect_compute_type("linear", x);
  if (weight.shape().rank() != 2 || x.rank() < 1 || x.size(-1) != weight.shape()[1]) {
    fail(ErrorKind::mismatch, "linear: input {} does not fit weight {}", x.shape().to_string(),
         weight.shape().to_string());
  }
  const std::int64_t out = weight.shape()[0];
  expect_f32_vector("linear", "bias", bias, out);
  Tensor y = context.allocate(with_last(x.shape(), out), x.dtype());
  expect_like("linear", "residual", epilogue.residual, y.shape(), y.dtype());
  if (y.count() > 0) context.table().linear(x, weight, bias, epilogue, y);
  return y;
}

namespace {

void check_pair(const Weight& down, int down_axes, const Tensor& scales, const Weight& up,
                const Tensor& x, const Tensor& y) {
  if (x.rank() < 1 || y.rank() < 1)
    fail(ErrorKind::mismatch, "low_rank_update: x or y has no axis");
  const std::int64_t in = x.size(-1), out = y.size(-1);
  const std::int64_t rank = down.shape().rank() == down_axes ? down.shape()[0] : -1;
  if (rank < 0 || down.shape()[1] != in || up.shape().rank() != 2 || up.shape()[1] != rank ||
      up.shape()[0] != out) {
    fail(ErrorKind::mismatch,
         "low_rank_update: down {} and up {} do not fit a layer of {} inputs and {} outputs",
         down.shape().to_string(), up.shape().to_string(), in, out);
  }
  expect_present("low_rank_update", "scales", scales);
  expect_f32_vector("low_rank_update", "scales", scales, rank);
  if (x.dtype() != y.dtype()) fail(ErrorKind::internal, "low_rank_update: x and y differ in type");
}

}  // namespace

void low_rank_update(Context& context, const Tensor& x, const Weight& down, const Tensor& scales,
                     const Weight& up, Tensor& y) {
  expect_compute_type("low_rank_update", x);
  check_pair(down, 2, scales, up, x, y);
  expect_shape("low_rank_update", "y", y.shape(), with_last(x.shape(), y.size(-1)));
  if (y.count() == 0 || scales.count() == 0) return;
  context.table().low_rank_update(x, down, scales, up, nullptr, y, context);
}

void low_rank_conv_update(Context& context, const Tensor& x, const Weight& down,
                          const Tensor& scales, const Weight& up, const ConvGeometry& geometry,
                          Tensor& y) {
  expect_compute_type("low_rank_conv_update", x);
  check_pair(down, 4, scales, up, x, y);
  expect_shape("low_rank_conv_update", "y", y.shape(),
               with_last(conv2d_shape(x.shape(), down.shape(), geometry), y.size(-1)));
  if (y.count() == 0 || scales.count() == 0) return;
  context.table().low_rank_update(x, down, scales, up, &geometry, y, context);
}

Tensor linear_low_rank(Context& context, const Tensor& x, const Weight& weight, const Tensor& bias,
                       const LowRank& low_rank, const Epilogue& epilogue) {
  expect_compute_type("linear_low_rank", x);
  if (weight.shape().rank() != 2 || x.rank() < 1 || x.size(-1) != weight.shape()[1]) {
    fail(ErrorKind::mismatch, "linear_low_rank: input {} does not fit weight {}",
         x.shape().to_string(), weight.shape().to_string());
  }
  const std::int64_t out = weight.shape()[0];
  expect_f32_vector("linear_low_rank", "bias", bias, out);
  Tensor y = context.allocate(with_last(x.shape(), out), x.dtype());
  expect_like("linear_low_rank", "residual", epilogue.residual, y.shape(), y.dtype());
  check_pair(low_rank.down, 2, low_rank.scales, low_rank.up, x, y);
  if (low_rank.scales.count() == 0) return linear(context, x, weight, bias, epilogue);
  if (y.count() == 0 || context.table().linear_low_rank(x, weight, bias, low_rank, epilogue, y)) {
    return y;
  }
  // An activation has to wait for the sum, and so has a residual behind it.
  const bool sum_only = epilogue.activation == Activation::none;
  context.table().linear(x, weight, bias, {.residual = sum_only ? epilogue.residual : nullptr}, y);
  context.table().low_rank_update(x, low_rank.down, low_rank.scales, low_rank.up, nullptr, y,
                                  context);
  if (sum_only) return y;
  y = activation(context, y, epilogue.activation);
  return epilogue.residual == nullptr ? y : add(context, y, *epilogue.residual);
}

std::optional<Tensor> linear_low_rank(Context& context, const Tensor& x,
                                      std::span<const LowRankRows> rows, const Epilogue& epilogue) {
  expect_compute_type("linear_low_rank", x);
  if (epilogue.activation != Activation::none || rows.empty()) return std::nullopt;
  const std::int64_t out = rows.front().weight->shape()[0];
  Tensor y = context.allocate(with_last(x.shape(), out), x.dtype());
  expect_like("linear_low_rank", "residual", epilogue.residual, y.shape(), y.dtype());
  const auto run = [&](const LowRankRows& part) {
    if (part.weight->shape() != Shape{out, x.size(-1)}) {
      fail(ErrorKind::mismatch, "linear_low_rank: rows {} to {} of {} do not fit weight {}",
           part.begin, part.end, x.shape().to_string(), part.weight->shape().to_string());
    }
    expect_f32_vector("linear_low_rank", "bias", *part.bias, out);
    const Tensor from = x.slice(part.begin, part.end);
    Tensor to = y.slice(part.begin, part.end);
    Tensor residual;
    if (epilogue.residual) residual = epilogue.residual->slice(part.begin, part.end);
    const Epilogue end{.residual = epilogue.residual ? &residual : nullptr};
    if (to.count() == 0) return true;
    if (part.low_rank) {
      const LowRank& own = *part.low_rank;
      check_pair(own.down, 2, own.scales, own.up, from, to);
      return context.table().linear_low_rank(from, *part.weight, *part.bias, own, end, to);
    }
    context.table().linear(from, *part.weight, *part.bias, end, to);
    return true;
  };
  // Ranks first: they alone may be refused.
  for (const LowRankRows& part : rows) {
    if (part.low_rank && !run(part)) return std::nullopt;
  }
  for (const LowRankRows& part : rows) {
    if (!part.low_rank) run(part);
  }
  return y;
}

}  // namespace velatura::ops
