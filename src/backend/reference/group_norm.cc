#include <cmath>

#include "backend/reference/kernels.h"
#include "backend/reference/values.h"

namespace velatura::backend::reference {

namespace {

/// Mean and 1/√(variance + ε) of a group's values: `pixels` runs of `width` values, `stride` apart.
struct Statistics {
  double mean, inverse_deviation;
};

Statistics statistics(const float* values, const float* add, std::int64_t pixels,
                      std::int64_t width, std::int64_t stride, float epsilon) {
  const auto value = [=](std::int64_t pixel, std::int64_t c) {
    return static_cast<double>(values[pixel * stride + c] + (add ? add[c] : 0.0f));
  };
  const double count = static_cast<double>(pixels * width);
  double sum = 0;
  for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
    for (std::int64_t c = 0; c < width; ++c) sum += value(pixel, c);
  }
  const double mean = sum / count;
  double squares = 0;
  for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
    for (std::int64_t c = 0; c < width; ++c) {
      const double deviation = value(pixel, c) - mean;
      squares += deviation * deviation;
    }
  }
  return {mean, 1.0 / std::sqrt(squares / count + static_cast<double>(epsilon))};
}

}  // namespace

void group_norm(const Tensor& x, const ops::GroupNormArgs& args, Tensor& y) {
  const std::int64_t pixels = x.size(1) * x.size(2), channels = x.size(3);
  const std::int64_t width = channels / args.groups;
  const Tensor x_values = to_f32(x);
  const Tensor add_values = args.channel_add ? to_f32(*args.channel_add) : Tensor();
  compute_f32(y, [&](float* out) {
    for (std::int64_t picture = 0; picture < x.size(0); ++picture) {
      for (std::int64_t first = 0; first < channels; first += width) {
        const std::int64_t offset = picture * pixels * channels + first;
        const float* in = x_values.data<float>() + offset;
        const float* add =
            add_values.defined() ? add_values.data<float>() + picture * channels + first : nullptr;
        const Statistics of = statistics(in, add, pixels, width, channels, args.epsilon);
        for (std::int64_t c = 0; c < width; ++c) {
          const double gain = of.inverse_deviation * args.gamma.data<float>()[first + c];
          const double shift = args.beta.data<float>()[first + c];
          for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
            const float value = in[pixel * channels + c] + (add ? add[c] : 0.0f);
            const double normed = (static_cast<double>(value) - of.mean) * gain + shift;
            out[offset + pixel * channels + c] =
                activate(static_cast<float>(normed), args.activation);
          }
        }
      }
    }
  });
}

}  // namespace velatura::backend::reference
