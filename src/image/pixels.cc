#include "image/pixels.h"

#include <cmath>
#include <cstddef>

#include "base/error.h"
#include "image/formats.h"

namespace velatura::image {
namespace {

template <typename Convert>
void to_planes(const Image& image, std::span<float> planes, const Convert& convert) {
  VELATURA_CHECK(image.channels == 3 && planes.size() == image.pixels.size());
  const std::size_t area = planes.size() / 3;
  for (std::size_t c = 0; c < 3; ++c) {
    for (std::size_t i = 0; i < area; ++i) {
      planes[c * area + i] = convert(static_cast<float>(image.pixels[3 * i + c]) / 255.0f);
    }
  }
}

template <typename Convert>
Image from_planes(std::span<const float> planes, int width, int height, const Convert& convert) {
  VELATURA_CHECK(width > 0 && height > 0);
  Image image = make_image(width, height, 3);
  VELATURA_CHECK(planes.size() == image.pixels.size());
  const std::size_t area = planes.size() / 3;
  for (std::size_t c = 0; c < 3; ++c) {
    for (std::size_t i = 0; i < area; ++i) {
      const float value = convert(planes[c * area + i]);
      const float unit = value > 0.0f ? std::fmin(value, 1.0f) : 0.0f;  // NaN fails the comparison
      image.pixels[3 * i + c] = static_cast<std::uint8_t>(std::nearbyint(unit * 255.0f));
    }
  }
  return image;
}

}  // namespace

void to_signed_planes(const Image& image, std::span<float> planes) {
  to_planes(image, planes, [](float unit) { return 2.0f * unit - 1.0f; });
}

void to_unit_planes(const Image& image, std::span<float> planes) {
  to_planes(image, planes, [](float unit) { return unit; });
}

Image from_signed_planes(std::span<const float> planes, int width, int height) {
  return from_planes(planes, width, height, [](float value) { return value * 0.5f + 0.5f; });
}

Image from_unit_planes(std::span<const float> planes, int width, int height) {
  return from_planes(planes, width, height, [](float value) { return value; });
}

}  // namespace velatura::image
