#include <algorithm>
#include <vector>

#include "backend/reference/kernels.h"
#include "backend/reference/products.h"
#include "backend/reference/values.h"

namespace velatura::backend::reference {

void low_rank_update(const Tensor& x, const Weight& down, const Tensor& scales, const Weight& up,
                     const ConvGeometry* geometry, Tensor& y) {
  const std::int64_t out = y.size(-1), in = x.size(-1), rank = down.shape()[0];
  const Tensor x_values = to_f32(x);
  const Tensor before = to_f32(y);
  const float* down_values = outputs_innermost(down);
  const float* up_values = outputs_innermost(up);
  const float* scale = scales.data<float>();
  std::vector<float> inner(static_cast<std::size_t>(rank));
  std::vector<float> delta(static_cast<std::size_t>(out));
  compute_f32(y, [&](float* values) {
    for (std::int64_t row = 0; row < y.count() / out; ++row) {
      std::ranges::fill(inner, 0.0f);
      if (geometry) {
        accumulate_window(window_of(x_values, *geometry, y, row), down_values, down.shape(),
                          inner.data());
      } else {
        accumulate_row(x_values.data<float>() + row * in, in, down_values, rank, inner.data());
      }
      for (std::size_t r = 0; r < inner.size(); ++r) inner[r] *= scale[r];
      std::ranges::fill(delta, 0.0f);
      accumulate_row(inner.data(), rank, up_values, out, delta.data());
      const float* base = before.data<float>() + row * out;
      for (std::int64_t o = 0; o < out; ++o) {
        values[row * out + o] = base[o] + delta[static_cast<std::size_t>(o)];
      }
    }
  });
}

}  // namespace velatura::backend::reference
