#include "ops/norm.h"

#include "ops/check.h"

namespace velatura::ops {

Tensor group_norm(Context& context, const Tensor& x, const GroupNormArgs& args) {
  expect_compute_type("group_norm", x);
  if (x.rank() != 4 || args.groups < 1 || x.size(3) % args.groups != 0) {
    fail(ErrorKind::mismatch, "group_norm: {} channels-last input cannot be split into {} groups",
         x.shape().to_string(), args.groups);
  }
  expect_shape("group_norm", "gamma", args.gamma.shape(), Shape{x.size(3)});
  expect_shape("group_norm", "beta", args.beta.shape(), Shape{x.size(3)});
  expect_like("group_norm", "channel_add", args.channel_add, Shape{x.size(0), x.size(3)}, x.dtype());
  Tensor y = context.allocate(x.shape(), x.dtype());
  if (y.count() > 0) context.table().group_norm(x, args, y);
  return y;
}

Tensor layer_norm(Context& context, const Tensor& x, const Tensor& gamma, const Tensor& beta, float epsilon) {
  expect_compute_type("layer_norm", x);
  expect_shape("layer_norm", "gamma", gamma.shape(), Shape{x.size(-1)});
  expect_shape("layer_norm", "beta", beta.shape(), Shape{x.size(-1)});
  Tensor y = context.allocate(x.shape(), x.dtype());
  if (y.count() > 0) context.table().layer_norm(x, gamma, beta, epsilon, y);
  return y;
}

}  // namespace velatura::ops
