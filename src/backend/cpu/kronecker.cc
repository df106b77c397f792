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
  const ConvGeometry* geometry = nullptr;
  std::int64_t height = 0, width = 0, out_height = 0, out_width = 0;  ///< of x and y
  std::int64_t kernel_height = 0, kernel_width = 0;
  std::int64_t parts = 0;  ///< of x's channels: in_m
  std::int64_t part_bytes = 0;
  const std::byte* x = nullptr;
  const std::byte* x_end = nullptr;

  std::int64_t taps() const { return kernel_height * kernel_width; }
};

/// Gathered windows stay in half of a first-level cache of 32 KB.
constexpr std::int64_t kGatheredBytes = 16 << 10;

/// Copies go by this many bytes; what one writes too much, the next overwrites.
constexpr std::int64_t kCopy = 32;

/// to [size] = from [size], or zeros where `from` is null; up to kCopy − 1 bytes behind `to` are
/// spoilt.
inline void copy_part(const std::byte* from, const std::byte* end, std::int64_t size,
                      std::byte* to) {
  for (std::int64_t at = 0; at < size; at += kCopy) {
    if (from == nullptr) {
      std::memset(to + at, 0, kCopy);
    } else if (end - from >= at + kCopy) {
      std::memcpy(to + at, from + at, kCopy);
    } else {
      std::memcpy(to + at, from + at, static_cast<std::size_t>(size - at));
      return;
    }
  }
}

/// The window of output pixel `pixel` as [parts][taps][channels of a part] with zeros outside the
/// picture; up to kCopy − 1 bytes behind it are spoilt. `sources` has room for a pointer a tap.
void gather_window(const Windows& w, std::int64_t pixel, const std::byte** sources, std::byte* to) {
  const std::int64_t left = pixel % w.out_width * w.geometry->stride - w.geometry->pad_left;
  const std::int64_t top =
      pixel / w.out_width % w.out_height * w.geometry->stride - w.geometry->pad_top;
  const std::int64_t pixel_bytes = w.parts * w.part_bytes;
  const std::byte* picture =
      w.x + pixel / w.out_width / w.out_height * w.height * w.width * pixel_bytes;
  const std::int64_t taps = w.taps();
  for (std::int64_t tap = 0; tap < taps; ++tap) {
    const std::int64_t row = top + tap / w.kernel_width, column = left + tap % w.kernel_width;
    const bool inside = row >= 0 && row < w.height && column >= 0 && column < w.width;
    sources[tap] = inside ? picture + (row * w.width + column) * pixel_bytes : nullptr;
  }
  for (std::int64_t part = 0; part < w.parts; ++part) {
    for (std::int64_t tap = 0; tap < taps; ++tap, to += w.part_bytes) {
      const std::byte* from = sources[tap];
      if (from != nullptr) from += part * w.part_bytes;
      copy_part(from, w.x_end, w.part_bytes, to);
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

/// Rounded up to a cache line.
std::size_t aligned(std::size_t size) {
  return (size + 63) / 64 * 64;
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
          .part_bytes = x.size(3) / in_m * static_cast<std::int64_t>(size_of(x.dtype())),
          .x = x.bytes(),
          .x_end = x.bytes() + x.byte_size()};
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
  Plan plan = plan_for(type, w1, w2, scale.data<float>()[0]);
  const ops::KroneckerShape& shape = plan.problem.shape;
  const bool gathers = geometry != nullptr && !is_pointwise(*geometry, w2);
  const Windows windows = gathers ? windows_of(x, w1, w2, geometry, y) : Windows{};
  const std::int64_t row_in = shape.in_m * shape.in_n * element;
  const std::int64_t row_out = shape.out_l * shape.out_k * element;
  if (gathers) {
    plan.block_rows = std::clamp<std::int64_t>(kGatheredBytes / row_in, 1, plan.block_rows);
  }
  // A thread's memory: the kernel's, pointers to taps, the gathered windows.
  const std::size_t sources_at = aligned(plan.scratch);
  const std::size_t windows_at =
      sources_at + aligned(static_cast<std::size_t>(windows.taps()) * sizeof(const std::byte*));
  const std::size_t part =
      windows_at +
      (gathers ? aligned(static_cast<std::size_t>(plan.block_rows * row_in + kCopy)) : 0);
  const auto threads = static_cast<std::size_t>(std::max(omp_get_max_threads(), 1));
  auto* memory = static_cast<std::byte*>(thread_scratch(part * threads));
  const std::int64_t grain = kElementwiseGrain * 8 / shape.multiplications() + 1;
  parallel_for(y.count() / y.size(-1), grain, [&](std::int64_t begin, std::int64_t end) {
    std::byte* scratch = memory + part * static_cast<std::size_t>(omp_get_thread_num());
    auto** sources = reinterpret_cast<const std::byte**>(scratch + sources_at);
    for (std::int64_t row = begin; row < end; row += plan.block_rows) {
      const std::int64_t rows = std::min(plan.block_rows, end - row);
      const std::byte* from = x.bytes() + row * row_in;
      if (gathers) {
        from = scratch + windows_at;
        for (std::int64_t i = 0; i < rows; ++i) {
          gather_window(windows, row + i, sources, scratch + windows_at + i * row_in);
        }
      }
      update_rows(plan, type, from, rows, y.mutable_bytes() + row * row_out, scratch);
    }
  });
}

}  // namespace velatura::backend::cpu
