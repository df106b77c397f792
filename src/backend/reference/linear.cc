#include <algorithm>

#include "backend/reference/kernels.h"
#include "backend/reference/products.h"
#include "backend/reference/values.h"

namespace velatura::backend::reference {

void linear(const Tensor& x, const Weight& weight, const Tensor& bias, const Epilogue& epilogue,
            Tensor& y) {
  const std::int64_t out = weight.shape()[0], in = weight.shape()[1];
  const Tensor x_values = to_f32(x);
  const Tensor residual = epilogue.residual ? to_f32(*epilogue.residual) : Tensor();
  const float* packed = outputs_innermost(weight);
  const float* bias_values = bias.defined() ? bias.data<float>() : nullptr;
  compute_f32(y, [&](float* values) {
    for (std::int64_t row = 0; row < y.count() / out; ++row) {
      float* sums = values + row * out;
      std::fill_n(sums, out, 0.0f);
      accumulate_row(x_values.data<float>() + row * in, in, packed, out, sums);
      finish_row(sums, out, bias_values, epilogue.activation,
                 residual.defined() ? residual.data<float>() + row * out : nullptr);
    }
  });
}

}  // namespace velatura::backend::reference
