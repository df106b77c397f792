#include "ops/elementwise.h"

#include <cstring>

#include "ops/activation.h"
#include "ops/check.h"

namespace velatura::ops {

Tensor activation(Context& context, const Tensor& x, Activation kind) {
  expect_compute_type("activation", x);
  if (kind == Activation::none) return x;
  Tensor y = context.allocate(x.shape(), x.dtype());
  if (y.count() > 0) context.table().activation(x, kind, y);
  return y;
}

Tensor geglu(Context& context, const Tensor& x) {
  expect_compute_type("geglu", x);
  if (x.rank() < 1 || x.size(-1) % 2 != 0) {
    fail(ErrorKind::mismatch, "geglu: the last axis of {} is not even", x.shape().to_string());
  }
  Tensor y = context.allocate(with_last(x.shape(), x.size(-1) / 2), x.dtype());
  if (y.count() > 0) context.table().geglu(x, y);
  return y;
}

Tensor scaled_add(Context& context, const Tensor& a, const Tensor& b, float scale) {
  expect_compute_type("scaled_add", a);
  expect_like("scaled_add", "b", &b, a.shape(), a.dtype());
  Tensor y = context.allocate(a.shape(), a.dtype());
  if (y.count() > 0) context.table().scaled_add(a, b, scale, y);
  return y;
}

Tensor zeros(Context& context, const Shape& shape) {
  Tensor y = context.allocate(shape);
  if (y.count() > 0) std::memset(y.mutable_bytes(), 0, y.byte_size());
  return y;
}

void add_scaled(Context& context, const Tensor& delta, float scale, Tensor& y) {
  expect_compute_type("add_scaled", y);
  expect_like("add_scaled", "delta", &delta, y.shape(), y.dtype());
  if (y.count() > 0) context.table().scaled_add(y, delta, scale, y);
}

void masked_add(Context& context, const Tensor& delta, const Tensor& mask, float scale, Tensor& y) {
  expect_compute_type("masked_add", y);
  expect_like("masked_add", "delta", &delta, y.shape(), y.dtype());
  if (y.rank() < 1) fail(ErrorKind::mismatch, "masked_add: y has no axis");
  expect_present("masked_add", "mask", mask);
  if (mask.dtype() != DType::f32) fail(ErrorKind::internal, "masked_add: mask must be f32");
  if (y.count() == 0) return;
  const std::int64_t rows = y.count() / y.size(-1);
  if (mask.count() == 0 || rows % mask.count() != 0) {
    fail(ErrorKind::mismatch, "masked_add: a mask of {} values does not fit the {} rows of {}",
         mask.count(), rows, y.shape().to_string());
  }
  context.table().masked_add(delta, mask, scale, y);
}

Tensor concat_channels(Context& context, const Tensor& a, const Tensor& b) {
  expect_compute_type("concat_channels", a);
  if (a.rank() < 1 || b.rank() != a.rank()) {
    fail(ErrorKind::mismatch, "concat_channels: {} and {} differ in more than channels",
         a.shape().to_string(), b.shape().to_string());
  }
  expect_like("concat_channels", "b", &b, with_last(a.shape(), b.size(-1)), a.dtype());
  Tensor y = context.allocate(with_last(a.shape(), a.size(-1) + b.size(-1)), a.dtype());
  if (y.count() > 0) context.table().concat_channels(a, b, y);
  return y;
}

Tensor upsample_nearest_2x(Context& context, const Tensor& x, std::int64_t height,
                           std::int64_t width) {
  expect_compute_type("upsample_nearest_2x", x);
  if (x.rank() != 4) {
    fail(ErrorKind::mismatch, "upsample_nearest_2x: expected [N, H, W, C], found {}",
         x.shape().to_string());
  }
  if ((height + 1) / 2 != x.size(1) || (width + 1) / 2 != x.size(2)) {
    fail(ErrorKind::mismatch, "upsample_nearest_2x: {} cannot become {} x {} pixels",
         x.shape().to_string(), height, width);
  }
  Tensor y = context.allocate({x.size(0), height, width, x.size(3)}, x.dtype());
  if (y.count() > 0) context.table().upsample_nearest_2x(x, y);
  return y;
}

Tensor embedding(Context& context, const Tensor& table, const Tensor& ids) {
  if (table.rank() != 2 || !is_floating(table.dtype()) || ids.dtype() != DType::i64) {
    fail(ErrorKind::mismatch,
         "embedding: a floating [V, C] table and i64 ids are expected, found {} {} and {}",
         to_string(table.dtype()), table.shape().to_string(), to_string(ids.dtype()));
  }
  for (std::int64_t i = 0; i < ids.count(); ++i) {
    const std::int64_t id = ids.data<std::int64_t>()[i];
    if (id < 0 || id >= table.size(0)) {
      fail(ErrorKind::invalid_argument, "embedding: id {} is outside the table of {} rows", id,
           table.size(0));
    }
  }
  std::array<std::int64_t, Shape::kMaxRank> extents{};
  for (int axis = 0; axis < ids.rank(); ++axis)
    extents[static_cast<std::size_t>(axis)] = ids.size(axis);
  extents[static_cast<std::size_t>(ids.rank())] = table.size(1);
  Tensor y =
      context.allocate(Shape(std::span(extents.data(), static_cast<std::size_t>(ids.rank() + 1))));
  if (y.count() > 0) context.table().embedding(table, ids, y);
  return y;
}

Tensor cast(Context& context, const Tensor& x, DType type) {
  if (x.dtype() == type) return x;
  for (const DType side : {x.dtype(), type}) {
    if (side != DType::f32 && side != DType::f16 && side != DType::bf16) {
      fail(ErrorKind::unsupported, "cast: between f32, f16 and bf16, not {} to {}",
           to_string(x.dtype()), to_string(type));
    }
  }
  Tensor y = context.allocate(x.shape(), type);
  if (y.count() > 0) context.table().cast(x, y);
  return y;
}

Tensor nchw_to_nhwc(Context& context, const Tensor& x) {
  if (x.rank() != 4 || x.dtype() != DType::f32) {
    fail(ErrorKind::mismatch, "nchw_to_nhwc: f32 [N, C, H, W] expected, found {} {}",
         to_string(x.dtype()), x.shape().to_string());
  }
  Tensor y = context.allocate({x.size(0), x.size(2), x.size(3), x.size(1)});
  if (y.count() > 0) context.table().nchw_to_nhwc(x, y);
  return y;
}

Tensor nhwc_to_nchw(Context& context, const Tensor& x) {
  expect_compute_type("nhwc_to_nchw", x);
  if (x.rank() != 4)
    fail(ErrorKind::mismatch, "nhwc_to_nchw: [N, H, W, C] expected, found {}",
         x.shape().to_string());
  Tensor y = context.allocate({x.size(0), x.size(3), x.size(1), x.size(2)}, DType::f32);
  if (y.count() > 0) context.table().nhwc_to_nchw(x, y);
  return y;
}

}  // namespace velatura::ops
