#include "ops/attention.h"

#include <cmath>

#include "ops/check.h"

namespace velatura::ops {

Tensor attention(Context& context, const Tensor& q, const Tensor& k, const Tensor& v,
                 const AttentionArgs& args) {
  expect_compute_type("attention", q);
  if (q.rank() != 3 || k.rank() != 3 || args.heads < 1 || q.size(2) % args.heads != 0 ||
      k.size(0) != q.size(0) || k.size(2) != q.size(2) || k.size(1) < 1) {
    fail(ErrorKind::mismatch, "attention: queries {}, keys {} and {} heads do not fit together",
         q.shape().to_string(), k.shape().to_string(), args.heads);
  }
  expect_like("attention", "keys", &k, k.shape(), q.dtype());
  expect_like("attention", "values", &v, k.shape(), q.dtype());
  AttentionArgs given = args;
  if (given.scale == 0) given.scale = 1.0f / std::sqrt(static_cast<float>(q.size(2) / args.heads));
  Tensor y = context.allocate(q.shape(), q.dtype());
  if (y.count() > 0) context.table().attention(q, k, v, given, y);
  return y;
}

}  // namespace velatura::ops
