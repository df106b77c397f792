#include "ops/kronecker.h"

#include <cstring>

#include "backend/cpu/cpu.h"
#include "backend/cpu/kernels/kronecker.h"
#include "backend/cpu/ops.h"
#include "backend/cpu/parallel.h"
#include "backend/cpu/weight_forms.h"

namespace velatura::backend::cpu {

namespace {

using kernels::KroneckerProblem;

/// Where a convolution's windows lie; a linear layer has none.
struct Windows {
  const ConvGeometry* geometry;
  std::int64_t height, width, out_height, out_width;  ///< of x and y
  std::int64_t kernel_height, kernel_width;
  std::int64_t parts;  ///< of x's channels: in_m
  std::int64_t part_bytes;
};

/// The window of output pixel `pixel` as [parts][kernel_height · kernel_width · channels of a part]
/// with zeros outside the picture.
void gather_window(const Windows& w, const std::byte* x, std::int64_t pixel, std::byte* to) {
  const std::int64_t left = pixel % w.out_width * w.geometry->stride - w.geometry->pad_left;
  const std::int64_t top =
      pixel / w.out_width % w.out_height * w.geometry->stride - w.geometry->pad_top;
  const std::byte* picture =
      x + pixel / w.out_width / w.out_height * w.height * w.width * w.parts * w.part_bytes;
  const std::int64_t taps = w.kernel_height * w.kernel_width;
  const auto size = static_cast<std::size_t>(w.part_bytes);
  for (std::int64_t tap = 0; tap < taps; ++tap) {
    const std::int64_t row = top + tap / w.kernel_width, column = left + tap % w.kernel_width;
    const bool inside = row >= 0 && row < w.height && column >= 0 && column < w.width;
    const std::byte* from = picture + (row * w.width + column) * w.parts * w.part_bytes;
    std::byte* at = to + tap * w.part_bytes;
    for (std::int64_t part = 0; part < w.parts; ++part, at += taps * w.part_bytes) {
      if (inside) {
        std::memcpy(at, from + part * w.part_bytes, size);
      } else {
        std::memset(at, 0, size);
      }
    }
  }
}

/// w2 [out_k, in_n, kh, kw] as `type` [terms / group][columns][group] with the taps outside in_n,
/// zeros beyond out_k: the order in which windows are gathered.
std::shared_ptr<const void> pack(const Weight& w2, DType type, std::int64_t group,
                                 std::int64_t pad) {
  const Tensor values = in_type(w2.original(), type);
  const std::int64_t out_k = w2.shape()[0], in_n = w2.shape()[1];
  const std::int64_t terms = values.count() / out_k, taps = terms / in_n;
  const std::int64_t columns = (out_k + pad - 1) / pad * pad;
  const std::size_t size = size_of(type);
  auto pages = std::make_shared<Pages>(static_cast<std::size_t>(terms * columns) * size);
  std::memset(pages->data(), 0, pages->size());
  auto* to = static_cast<std::byte*>(pages->data());
  for (std::int64_t k = 0; k < out_k; ++k) {
    for (std::int64_t term = 0; term < terms; ++term) {
      const std::int64_t from = k * terms + term % in_n * taps + term / in_n;
      const std::int64_t at = (term / group * columns + k) * group + term % group;
      std::memcpy(to + static_cast<std::size_t>(at) * size,
                  values.bytes() + static_cast<std::size_t>(from) * size, size);
    }
  }
  return pages;
}

const void* packed(const Weight& w2, DType type, std::int64_t group, std::int64_t pad) {
  const char* key = type == DType::f32 ? "kronecker f32" : "kronecker bf16";
  const auto form = w2.form(key, [&] { return pack(w2, type, group, pad); });
  return static_cast<const Pages*>(form.get())->data();
}

/// The kernel of a shape with all it needs.
struct Plan {
  KroneckerProblem problem;
  bool bf16 = false;
  std::int64_t block_rows = 1;
  std::size_t scratch = 0;
};

Plan plan_for(DType type, const Weight& w1, const Weight& w2, float scale) {
  Plan plan{.problem = {.shape = ops::KroneckerShape::of(w1, w2), .scale = scale}};
  KroneckerProblem& p = plan.problem;
  plan.bf16 = type == DType::bf16 && cpu_features().avx512_bf16 && p.shape.in_m % 2 == 0 &&
              p.shape.in_n % 2 == 0;
  if (plan.bf16) {
    p.inner_first = kernels::kronecker_inner_first(p.shape);
    p.w1 = plain_weight(w1, DType::bf16);
    p.w2 = packed(w2, DType::bf16, 2, kernels::kKroneckerColumns);
    plan.block_rows = kernels::kronecker_block_rows(p.shape);
    plan.scratch = kernels::kronecker_scratch(p.shape);
  } else {
    p.inner_first = p.shape.inner_first() <= p.shape.outer_first();
    p.w1 = plain_weight(w1, DType::f32);
    p.w2 = packed(w2, DType::f32, 1, kernels::kKroneckerFloatColumns);
    plan.scratch = kernels::kronecker_float_scratch(p.shape);
  }
  plan.scratch = (plan.scratch + 63) / 64 * 64;
  return plan;
}

void update_rows(const Plan& plan, DType type, const std::byte* x, std::int64_t rows, std::byte* y,
                 std::byte* scratch) {
  if (type == DType::f32) {
    return kernels::kronecker_rows_f32(plan.problem, reinterpret_cast<const float*>(x), rows,
                                       reinterpret_cast<float*>(y), scratch);
  }
  const auto* from = reinterpret_cast<const std::uint16_t*>(x);
  auto* to = reinterpret_cast<std::uint16_t*>(y);
  if (plan.bf16) return kernels::kronecker_rows_bf16(plan.problem, from, rows, to, scratch);
  kernels::kronecker_rows_bf16_values(plan.problem, from, rows, to, scratch);
}

Windows windows_of(const Tensor& x, const Weight& w1, const Weight& w2,
                   const ConvGeometry* geometry, const Tensor& y) {
  const std::int64_t in_m = w1.shape()[1];
  return {.geometry = geometry,
          .height = x.size(1),
          .width = x.size(2),
          .out_height = y.size(1),
          .out_width = y.size(2),
          .kernel_height = w2.shape()[2],
          .kernel_width = w2.shape()[3],
          .parts = in_m,
          .part_bytes = x.size(3) / in_m * static_cast<std::int64_t>(size_of(x.dtype()))};
}

/// True where every window is one pixel, in x's own order.
bool is_pointwise(const ConvGeometry& geometry, const Weight& w2) {
  return w2.shape()[2] == 1 && w2.shape()[3] == 1 && geometry.stride == 1 &&
         geometry.pad_top == 0 && geometry.pad_left == 0 && geometry.pad_bottom == 0 &&
         geometry.pad_right == 0;
}

}  // namespace

void kronecker_update(const Tensor& x, const Weight& w1, const Weight& w2, const Tensor& scale,
                      const ConvGeometry* geometry, Tensor& y) {
  const DType type = x.dtype();
  const auto element = static_cast<std::int64_t>(size_of(type));
  const Plan plan = plan_for(type, w1, w2, scale.data<float>()[0]);
  const ops::KroneckerShape& shape = plan.problem.shape;
  const bool gathers = geometry != nullptr && !is_pointwise(*geometry, w2);
  const Windows windows = gathers ? windows_of(x, w1, w2, geometry, y) : Windows{};
  const std::int64_t row_in = shape.in_m * shape.in_n * element;
  const std::int64_t row_out = shape.out_l * shape.out_k * element;
  const std::size_t gathered =
      gathers ? static_cast<std::size_t>(plan.block_rows * row_in + 63) / 64 * 64 : 0;
  const std::size_t part = plan.scratch + gathered;
  const auto threads = static_cast<std::size_t>(std::max(omp_get_max_threads(), 1));
  auto* memory = static_cast<std::byte*>(thread_scratch(part * threads));
  const std::int64_t grain = kElementwiseGrain * 8 / shape.multiplications() + 1;
  parallel_for(y.count() / y.size(-1), grain, [&](std::int64_t begin, std::int64_t end) {
    std::byte* scratch = memory + part * static_cast<std::size_t>(omp_get_thread_num());
    for (std::int64_t row = begin; row < end; row += plan.block_rows) {
      const std::int64_t rows = std::min(plan.block_rows, end - row);
      const std::byte* from = x.bytes() + row * row_in;
      if (gathers) {
        std::byte* to = scratch + plan.scratch;
        for (std::int64_t i = 0; i < rows; ++i) {
          gather_window(windows, x.bytes(), row + i, to + i * row_in);
        }
        from = to;
      }
      update_rows(plan, type, from, rows, y.mutable_bytes() + row * row_out, scratch);
    }
  });
}

}  // namespace velatura::backend::cpu
