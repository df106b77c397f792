#include <algorithm>

#include "backend/reference/kernels.h"
#include "backend/reference/products.h"
#include "backend/reference/values.h"

namespace velatura::backend::reference {

void conv2d(const Tensor& x, const Weight& weight, const Tensor& bias, const ConvGeometry& geometry,
            const Epilogue& epilogue, Tensor& y) {
  const std::int64_t out = y.size(3);
  const Tensor x_values = to_f32(x);
  const Tensor residual = epilogue.residual ? to_f32(*epilogue.residual) : Tensor();
  const float* packed = outputs_innermost(weight);
  const float* bias_values = bias.defined() ? bias.data<float>() : nullptr;
  compute_f32(y, [&](float* values) {
    for (std::int64_t pixel = 0; pixel < y.count() / out; ++pixel) {
      float* sums = values + pixel * out;
      std::fill_n(sums, out, 0.0f);
      accumulate_window(window_of(x_values, geometry, y, pixel), packed, weight.shape(), sums);
      finish_row(sums, out, bias_values, epilogue.activation,
                 residual.defined() ? residual.data<float>() + pixel * out : nullptr);
    }
  });
}

}  // namespace velatura::backend::reference
