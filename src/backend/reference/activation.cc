#include <cmath>
#include <numbers>

#include "backend/reference/kernels.h"
#include "backend/reference/values.h"

namespace velatura::backend::reference {

namespace {

float sigmoid(float x) {
  return 1.0f / (1.0f + std::exp(-x));
}

/// x·Φ(x), with Φ(x) = erfc(−x/√2) / 2: unlike 1 + erf it does not cancel for large negative x.
float gelu(float x) {
  return 0.5f * x * std::erfc(-x * (1.0f / std::numbers::sqrt2_v<float>));
}

}  // namespace

float activate(float x, Activation kind) {
  constexpr float kLeakySlope = 0.2f;
  switch (kind) {
    case Activation::none:
      return x;
    case Activation::silu:
      return x * sigmoid(x);
    case Activation::gelu:
      return gelu(x);
    case Activation::quick_gelu:
      return x * sigmoid(1.702f * x);
    case Activation::relu:
      return x < 0 ? 0.0f : x;
    case Activation::leaky_relu:
      return x < 0 ? kLeakySlope * x : x;
  }
  return x;
}

void activation(const Tensor& x, Activation kind, Tensor& y) {
  const Tensor in = to_f32(x);
  compute_f32(y, [&](float* out) {
    const float* values = in.data<float>();
    for (std::int64_t i = 0; i < in.count(); ++i) out[i] = activate(values[i], kind);
  });
}

void geglu(const Tensor& x, Tensor& y) {
  const Tensor in = to_f32(x);
  const std::int64_t width = y.size(-1);
  compute_f32(y, [&](float* out) {
    const float* row = in.data<float>();
    for (std::int64_t left = y.count() / width; left > 0; --left, row += 2 * width, out += width) {
      for (std::int64_t c = 0; c < width; ++c) out[c] = row[c] * gelu(row[width + c]);
    }
  });
}

}  // namespace velatura::backend::reference
