#include "backend/reference/products.h"

#include "backend/reference/values.h"

namespace velatura::backend::reference {

const float* outputs_innermost(const ops::Weight& weight) {
  const auto form = weight.form("reference.f32", [&weight]() -> std::shared_ptr<const void> {
    const Tensor original = to_f32(weight.original());
    const std::int64_t out = original.size(0);
    const std::int64_t rest = out == 0 ? 0 : original.count() / out;
    auto packed = std::make_shared<Tensor>(Tensor::allocate({rest, out}, DType::f32));
    const float* from = original.data<float>();
    float* to = packed->mutable_data<float>();
    for (std::int64_t o = 0; o < out; ++o) {
      for (std::int64_t r = 0; r < rest; ++r) to[r * out + o] = from[o * rest + r];
    }
    return packed;
  });
  // The weight keeps the form for its own lifetime, which spans the call.
  return static_cast<const Tensor*>(form.get())->data<float>();
}

void accumulate_row(const float* row, std::int64_t in, const float* weight, std::int64_t out,
                    float* sums) {
  for (std::int64_t k = 0; k < in; ++k) {
    const float value = row[k];
    const float* column = weight + k * out;
    for (std::int64_t o = 0; o < out; ++o) sums[o] += value * column[o];
  }
}

Window window_of(const Tensor& x, const ops::ConvGeometry& geometry, const Tensor& y,
                 std::int64_t pixel) {
  const std::int64_t height = x.size(1), width = x.size(2);
  const std::int64_t column = pixel % y.size(2);
  const std::int64_t row = pixel / y.size(2) % y.size(1);
  const std::int64_t picture = pixel / y.size(2) / y.size(1);
  return {.picture = x.data<float>() + picture * height * width * x.size(3),
          .height = height,
          .width = width,
          .top = row * geometry.stride - geometry.pad_top,
          .left = column * geometry.stride - geometry.pad_left};
}

void accumulate_window(const Window& window, const float* weight, const Shape& shape, float* sums) {
  const std::int64_t out = shape[0], in = shape[1], kernel_height = shape[2],
                     kernel_width = shape[3];
  const std::int64_t kernel_area = kernel_height * kernel_width;
  for (std::int64_t ky = 0; ky < kernel_height; ++ky) {
    const std::int64_t row = window.top + ky;
    if (row < 0 || row >= window.height) continue;
    for (std::int64_t kx = 0; kx < kernel_width; ++kx) {
      const std::int64_t column = window.left + kx;
      if (column < 0 || column >= window.width) continue;
      const float* pixel = window.picture + (row * window.width + column) * in;
      const float* tap = weight + (ky * kernel_width + kx) * out;
      for (std::int64_t channel = 0; channel < in; ++channel) {
        const float value = pixel[channel];
        const float* outputs = tap + channel * kernel_area * out;
        for (std::int64_t o = 0; o < out; ++o) sums[o] += value * outputs[o];
      }
    }
  }
}

void finish_row(float* sums, std::int64_t out, const float* bias, ops::Activation activation,
                const float* residual) {
  for (std::int64_t o = 0; o < out; ++o) {
    const float biased = bias ? sums[o] + bias[o] : sums[o];
    const float activated = activate(biased, activation);
    sums[o] = residual ? activated + residual[o] : activated;
  }
}

}  // namespace velatura::backend::reference
