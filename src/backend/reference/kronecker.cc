#include <algorithm>
#include <vector>

#include "backend/reference/kernels.h"
#include "backend/reference/products.h"
#include "backend/reference/values.h"
#include "ops/kronecker.h"

namespace velatura::backend::reference {

namespace {

/// One of the in_m parts of x's channels as a picture of its own: [..., in_n].
Tensor part_of(const Tensor& x, std::int64_t part, std::int64_t parts) {
  const std::int64_t width = x.size(-1) / parts, rows = x.count() / x.size(-1);
  Tensor values =
      Tensor::allocate(Shape{x.rank() == 4 ? x.size(0) : 1, x.rank() == 4 ? x.size(1) : 1,
                             x.rank() == 4 ? x.size(2) : rows, width},
                       DType::f32);
  for (std::int64_t row = 0; row < rows; ++row) {
    std::copy_n(x.data<float>() + row * x.size(-1) + part * width, width,
                values.mutable_data<float>() + row * width);
  }
  return values;
}

}  // namespace

void kronecker_update(const Tensor& x, const Weight& w1, const Weight& w2, const Tensor& scale,
                      const ConvGeometry* geometry, Tensor& y) {
  const std::int64_t out_l = w1.shape()[0], in_m = w1.shape()[1], out_k = w2.shape()[0];
  const std::int64_t out = out_l * out_k;
  const Tensor x_values = to_f32(x);
  const Tensor before = to_f32(y);
  const Tensor outer = to_f32(w1.original());
  const float* inner_weight = outputs_innermost(w2);
  const float factor = scale.data<float>()[0];
  std::vector<Tensor> parts;
  for (std::int64_t m = 0; m < in_m; ++m) parts.push_back(part_of(x_values, m, in_m));
  std::vector<float> inner(static_cast<std::size_t>(out_k));
  std::vector<float> delta(static_cast<std::size_t>(out));
  compute_f32(y, [&](float* values) {
    for (std::int64_t row = 0; row < y.count() / out; ++row) {
      std::ranges::fill(delta, 0.0f);
      for (std::int64_t m = 0; m < in_m; ++m) {
        const Tensor& part = parts[static_cast<std::size_t>(m)];
        std::ranges::fill(inner, 0.0f);
        if (geometry) {
          accumulate_window(window_of(part, *geometry, y, row), inner_weight, w2.shape(),
                            inner.data());
        } else {
          accumulate_row(part.data<float>() + row * part.size(-1), part.size(-1), inner_weight,
                         out_k, inner.data());
        }
        for (std::int64_t i = 0; i < out; ++i) {
          delta[static_cast<std::size_t>(i)] += outer.data<float>()[i / out_k * in_m + m] *
                                                inner[static_cast<std::size_t>(i % out_k)];
        }
      }
      for (std::int64_t i = 0; i < out; ++i) {
        values[row * out + i] =
            before.data<float>()[row * out + i] + factor * delta[static_cast<std::size_t>(i)];
      }
    }
  });
}

}  // namespace velatura::backend::reference
