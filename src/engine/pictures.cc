#include "engine/pictures.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace velatura::engine {

Image to_image(const Tensor& picture) {
  VELATURA_CHECK(picture.rank() == 3 && picture.size(0) == 3);
  const std::int64_t pixels = picture.size(1) * picture.size(2);
  Image image{.width = static_cast<int>(picture.size(2)),
              .height = static_cast<int>(picture.size(1)),
              .channels = 3,
              .pixels = {}};
  image.pixels.resize(static_cast<std::size_t>(3 * pixels));
  const float* values = picture.data<float>();
  for (std::int64_t i = 0; i < pixels; ++i) {
    for (std::int64_t channel = 0; channel < 3; ++channel) {
      const float value = std::clamp(values[channel * pixels + i], 0.0f, 1.0f);
      image.pixels[static_cast<std::size_t>(3 * i + channel)] =
          static_cast<std::uint8_t>(std::lround(value * 255.0f));
    }
  }
  return image;
}

Tensor to_signed_tensor(const Image& image) {
  VELATURA_CHECK(image.channels == 3);
  const std::int64_t pixels = std::int64_t{image.width} * image.height;
  Tensor picture = Tensor::allocate({1, 3, image.height, image.width}, DType::f32);
  float* values = picture.mutable_data<float>();
  for (std::int64_t i = 0; i < pixels; ++i) {
    for (std::int64_t channel = 0; channel < 3; ++channel) {
      values[channel * pixels + i] =
          static_cast<float>(image.pixels[static_cast<std::size_t>(3 * i + channel)]) / 127.5f -
          1.0f;
    }
  }
  return picture;
}

}  // namespace velatura::engine
