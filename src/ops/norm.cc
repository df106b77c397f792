#include "ops/norm.h"

#include "ops/check.h"

namespace velatura::ops {

namespace {

void expect_gain_and_shift(std::string_view op, const Tensor& gamma, const Tensor& beta,
                           std::int64_t channels) {
  expect_present(op, "gamma", gamma);
  expect_present(op, "beta", beta);
  expect_f32_vector(op, "gamma", gamma, channels);
  expect_f32_vector(op, "beta", beta, channels);
}

}  // namespace

Tensor group_norm(Context& context, const Tensor& x, const GroupNormArgs& args) {
  expect_compute_type("group_norm", x);
  if (x.rank() != 4 || args.groups < 1 || x.size(3) % args.groups != 0) {
    fail(ErrorKind::mismatch, "group_norm: {} channels-last input cannot be split into {} groups",
         x.shape().to_string(), args.groups);
  }
  expect_gain_and_shift("group_norm", args.gamma, args.beta, x.size(3));
  expect_like("group_norm", "channel_add", args.channel_add, Shape{x.size(0), x.size(3)},
              x.dtype());
  Tensor y = context.allocate(x.shape(), x.dtype());
  if (y.count() > 0) context.table().group_norm(x, args, y);
  return y;
}

Tensor layer_norm(Context& context, const Tensor& x, const Tensor& gamma, const Tensor& beta,
                  float epsilon) {
  expect_compute_type("layer_norm", x);
  if (x.rank() < 1) fail(ErrorKind::mismatch, "layer_norm: the input has no axis");
  expect_gain_and_shift("layer_norm", gamma, beta, x.size(-1));
  Tensor y = context.allocate(x.shape(), x.dtype());
  if (y.count() > 0) context.table().layer_norm(x, gamma, beta, epsilon, y);
  return y;
}

}  // namespace velatura::ops
