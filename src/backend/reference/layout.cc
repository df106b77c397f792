// Ops that only move elements: no arithmetic, so 16-bit values keep their bits.
#include <algorithm>

#include "backend/reference/kernels.h"
#include "backend/reference/values.h"

namespace velatura::backend::reference {

void concat_channels(const Tensor& a, const Tensor& b, Tensor& y) {
  const std::size_t a_bytes = static_cast<std::size_t>(a.size(-1)) * size_of(a.dtype());
  const std::size_t b_bytes = static_cast<std::size_t>(b.size(-1)) * size_of(b.dtype());
  const std::byte* from_a = a.bytes();
  const std::byte* from_b = b.bytes();
  std::byte* out = y.mutable_bytes();
  for (std::int64_t left = y.count() / y.size(-1); left > 0; --left) {
    out = std::copy_n(from_a, a_bytes, out);
    out = std::copy_n(from_b, b_bytes, out);
    from_a += a_bytes;
    from_b += b_bytes;
  }
}

void upsample_nearest_2x(const Tensor& x, Tensor& y) {
  const std::size_t pixel = static_cast<std::size_t>(x.size(3)) * size_of(x.dtype());
  std::byte* out = y.mutable_bytes();
  for (std::int64_t picture = 0; picture < y.size(0); ++picture) {
    for (std::int64_t row = 0; row < y.size(1); ++row) {
      const std::int64_t from_row = picture * x.size(1) + row / 2;
      const std::byte* from = x.bytes() + static_cast<std::size_t>(from_row * x.size(2)) * pixel;
      for (std::int64_t column = 0; column < y.size(2); ++column) {
        out = std::copy_n(from + static_cast<std::size_t>(column / 2) * pixel, pixel, out);
      }
    }
  }
}

namespace {

/// [pictures, rows, columns] → [pictures, columns, rows].
void transpose(const float* from, std::int64_t pictures, std::int64_t rows, std::int64_t columns,
               float* to) {
  for (std::int64_t picture = 0; picture < pictures; ++picture) {
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t column = 0; column < columns; ++column) {
        to[column * rows + row] = from[row * columns + column];
      }
    }
    from += rows * columns;
    to += rows * columns;
  }
}

}  // namespace

void nchw_to_nhwc(const Tensor& x, Tensor& y) {
  compute_f32(y, [&](float* out) {
    transpose(x.data<float>(), x.size(0), x.size(1), x.size(2) * x.size(3), out);
  });
}

void nhwc_to_nchw(const Tensor& x, Tensor& y) {
  const Tensor in = to_f32(x);
  transpose(in.data<float>(), x.size(0), x.size(1) * x.size(2), x.size(3), y.mutable_data<float>());
}

}  // namespace velatura::backend::reference
