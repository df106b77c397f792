#include <algorithm>

#include "backend/reference/kernels.h"
#include "backend/reference/values.h"
#include "base/half.h"

namespace velatura::backend::reference {

void store(const Tensor& values, Tensor& y) {
  const float* from = values.data<float>();
  const std::int64_t count = y.count();
  if (y.dtype() == DType::f32) {
    std::copy_n(from, count, y.mutable_data<float>());
  } else if (y.dtype() == DType::bf16) {
    std::transform(from, from + count, y.mutable_data<std::uint16_t>(), float_to_bf16);
  } else {
    const Tensor rounded = from_f32(values, y.dtype());
    std::copy_n(rounded.bytes(), y.byte_size(), y.mutable_bytes());
  }
}

void scaled_add(const Tensor& a, const Tensor& b, float scale, Tensor& y) {
  const Tensor a_values = to_f32(a);
  const Tensor b_values = to_f32(b);
  compute_f32(y, [&](float* out) {
    const float* left = a_values.data<float>();
    const float* right = b_values.data<float>();
    for (std::int64_t i = 0; i < y.count(); ++i) out[i] = left[i] + scale * right[i];
  });
}

void masked_add(const Tensor& delta, const Tensor& mask, float scale, Tensor& y) {
  const Tensor delta_values = to_f32(delta);
  const Tensor before = to_f32(y);
  const std::int64_t width = y.size(-1);
  compute_f32(y, [&](float* out) {
    for (std::int64_t i = 0; i < y.count(); ++i) {
      const float weight = mask.data<float>()[i / width % mask.count()];
      const float base = before.data<float>()[i];
      out[i] = weight == 0 ? base : base + scale * weight * delta_values.data<float>()[i];
    }
  });
}

void cast(const Tensor& x, Tensor& y) {
  store(to_f32(x), y);
}

}  // namespace velatura::backend::reference
