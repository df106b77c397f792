#include "backend/cpu/layout.h"

#include <cstring>

#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/parallel.h"
#include "base/error.h"
#include "base/half.h"

namespace velatura::backend::cpu {

void concat_channels(const Tensor& a, const Tensor& b, Tensor& y) {
  const std::size_t left = static_cast<std::size_t>(a.size(-1)) * size_of(a.dtype());
  const std::size_t right = static_cast<std::size_t>(b.size(-1)) * size_of(b.dtype());
  parallel_for(y.count() / y.size(-1), kElementwiseGrain / y.size(-1) + 1,
               [&](std::int64_t begin, std::int64_t end) {
                 for (auto row = static_cast<std::size_t>(begin);
                      row < static_cast<std::size_t>(end); ++row) {
                   std::byte* to = y.mutable_bytes() + row * (left + right);
                   std::memcpy(to, a.bytes() + row * left, left);
                   std::memcpy(to + left, b.bytes() + row * right, right);
                 }
               });
}

void upsample_nearest_2x(const Tensor& x, Tensor& y) {
  const std::size_t pixel = static_cast<std::size_t>(x.size(3)) * size_of(x.dtype());
  const std::int64_t height = y.size(1), width = y.size(2);
  const std::size_t line = static_cast<std::size_t>(width) * pixel;
  parallel_for(x.size(0) * x.size(1), kElementwiseGrain / (x.size(2) * x.size(3)) + 1,
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t row = begin; row < end; ++row) {
                   const std::int64_t picture = row / x.size(1);
                   const std::int64_t top = row % x.size(1) * 2;
                   const std::byte* from =
                       x.bytes() + static_cast<std::size_t>(row * x.size(2)) * pixel;
                   std::byte* to =
                       y.mutable_bytes() + static_cast<std::size_t>(picture * height + top) * line;
                   for (std::int64_t column = 0; column < width; ++column) {
                     std::memcpy(to + static_cast<std::size_t>(column) * pixel,
                                 from + static_cast<std::size_t>(column / 2) * pixel, pixel);
                   }
                   if (top + 1 < height) std::memcpy(to + line, to, line);
                 }
               });
}

void cast(const Tensor& x, Tensor& y) {
  if (!convert(x.bytes(), x.dtype(), y.mutable_bytes(), y.dtype(), x.count())) {
    fail(ErrorKind::unsupported, "cast from {} to {} is not available on backend cpu",
         to_string(x.dtype()), to_string(y.dtype()));
  }
}

void embedding(const Tensor& table, const Tensor& ids, Tensor& y) {
  const std::int64_t width = table.size(1);
  const std::size_t row_size = static_cast<std::size_t>(width) * size_of(table.dtype());
  for (std::int64_t i = 0; i < ids.count(); ++i) {
    const auto id = static_cast<std::size_t>(ids.data<std::int64_t>()[i]);
    std::byte* to = y.mutable_bytes() + static_cast<std::size_t>(i * width) * size_of(y.dtype());
    if (convert(table.bytes() + id * row_size, table.dtype(), to, y.dtype(), width)) continue;
    const auto row = static_cast<std::int64_t>(id);
    const Tensor wide = to_f32(table.slice(row, row + 1));
    convert(wide.bytes(), DType::f32, to, y.dtype(), width);
  }
}

namespace {

/// Calls move(picture, pixel, channel) of every element of [N, C, pixels], pixels innermost within
/// blocks of 64.
template <typename Move>
void for_each_element(std::int64_t pictures, std::int64_t channels, std::int64_t pixels,
                      const Move& move) {
  constexpr std::int64_t kBlock = 64;
  const std::int64_t blocks = (pixels + kBlock - 1) / kBlock;
  parallel_for(pictures * blocks, kElementwiseGrain / (kBlock * channels) + 1,
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t block = begin; block < end; ++block) {
                   const std::int64_t picture = block / blocks;
                   const std::int64_t first = block % blocks * kBlock;
                   const std::int64_t last = std::min(first + kBlock, pixels);
                   for (std::int64_t c = 0; c < channels; ++c) {
                     for (std::int64_t p = first; p < last; ++p) move(picture, p, c);
                   }
                 }
               });
}

}  // namespace

void nchw_to_nhwc(const Tensor& x, Tensor& y) {
  const std::int64_t channels = x.size(1), pixels = x.size(2) * x.size(3);
  const float* from = x.data<float>();
  const auto copy = [&](auto* to, const auto& value) {
    for_each_element(
        x.size(0), channels, pixels, [&](std::int64_t n, std::int64_t p, std::int64_t c) {
          to[(n * pixels + p) * channels + c] = value(from[(n * channels + c) * pixels + p]);
        });
  };
  if (y.dtype() == DType::f32) {
    copy(y.mutable_data<float>(), [](float v) { return v; });
  } else {
    copy(y.mutable_data<std::uint16_t>(), float_to_bf16);
  }
}

void nhwc_to_nchw(const Tensor& x, Tensor& y) {
  const std::int64_t channels = x.size(3), pixels = x.size(1) * x.size(2);
  float* to = y.mutable_data<float>();
  const auto copy = [&](const auto* from, const auto& value) {
    for_each_element(
        x.size(0), channels, pixels, [&](std::int64_t n, std::int64_t p, std::int64_t c) {
          to[(n * channels + c) * pixels + p] = value(from[(n * pixels + p) * channels + c]);
        });
  };
  if (x.dtype() == DType::f32) {
    copy(x.data<float>(), [](float v) { return v; });
  } else {
    copy(x.data<std::uint16_t>(), bf16_to_float);
  }
}

}  // namespace velatura::backend::cpu
