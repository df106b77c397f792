#include <cmath>

#include "backend/reference/kernels.h"
#include "backend/reference/values.h"

namespace velatura::backend::reference {

void layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, float epsilon,
                Tensor& y) {
  const std::int64_t width = x.size(-1);
  const Tensor x_values = to_f32(x);
  const float* gain = gamma.data<float>();
  const float* shift = beta.data<float>();
  compute_f32(y, [&](float* out) {
    const float* row = x_values.data<float>();
    for (std::int64_t left = x.count() / width; left > 0; --left, row += width, out += width) {
      double sum = 0, squares = 0;
      for (std::int64_t c = 0; c < width; ++c) sum += row[c];
      const double mean = sum / static_cast<double>(width);
      for (std::int64_t c = 0; c < width; ++c) squares += (row[c] - mean) * (row[c] - mean);
      const double inverse_deviation =
          1.0 / std::sqrt(squares / static_cast<double>(width) + static_cast<double>(epsilon));
      for (std::int64_t c = 0; c < width; ++c) {
        out[c] = static_cast<float>((row[c] - mean) * inverse_deviation * gain[c] + shift[c]);
      }
    }
  });
}

}  // namespace velatura::backend::reference
