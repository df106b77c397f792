#include "engine/region_mask.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/error.h"
#include "image/codec.h"
#include "image/resize.h"

namespace velatura::engine {

namespace {

/// The mask as a grey RGB picture.
Image grey_of(const Image& picture) {
  const std::size_t pixels = picture.pixels.size() / static_cast<std::size_t>(picture.channels);
  const auto at = [&](std::size_t pixel, std::size_t channel) {
    return picture.pixels[pixel * static_cast<std::size_t>(picture.channels) + channel];
  };
  bool is_transparent = false;
  for (std::size_t i = 0; picture.channels == 4 && i < pixels && !is_transparent; ++i)
    is_transparent = at(i, 3) != 255;
  Image grey{.width = picture.width, .height = picture.height, .channels = 3, .pixels = {}};
  grey.pixels.reserve(pixels * 3);
  for (std::size_t i = 0; i < pixels; ++i) {
    const double value =
        is_transparent ? at(i, 3) : 0.2126 * at(i, 0) + 0.7152 * at(i, 1) + 0.0722 * at(i, 2);
    grey.pixels.insert(grey.pixels.end(), 3, static_cast<std::uint8_t>(std::lround(value)));
  }
  return grey;
}

/// The Gaussian's weights from the middle outwards, 3.5 deviations wide, with the sum 1.
std::vector<float> half_kernel(double deviation) {
  const auto radius = static_cast<std::size_t>(std::ceil(3.5 * deviation));
  std::vector<double> weights;
  double sum = 0;
  for (std::size_t i = 0; i <= radius; ++i) {
    const double x = static_cast<double>(i) / deviation;
    weights.push_back(std::exp(-0.5 * x * x));
    sum += (i == 0 ? 1 : 2) * weights.back();
  }
  std::vector<float> kernel;
  for (const double weight : weights) kernel.push_back(static_cast<float>(weight / sum));
  return kernel;
}

/// One line of `count` values, `stride` apart.
void soften(float* line, std::int64_t count, std::int64_t stride, const std::vector<float>& kernel,
            std::vector<float>& copy) {
  copy.resize(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) copy[static_cast<std::size_t>(i)] = line[i * stride];
  const auto at = [&](std::int64_t i) {
    return copy[static_cast<std::size_t>(std::clamp<std::int64_t>(i, 0, count - 1))];
  };
  for (std::int64_t i = 0; i < count; ++i) {
    float sum = kernel[0] * at(i);
    for (std::int64_t k = 1; k < static_cast<std::int64_t>(kernel.size()); ++k)
      sum += kernel[static_cast<std::size_t>(k)] * (at(i - k) + at(i + k));
    line[i * stride] = std::clamp(sum, 0.0f, 1.0f);
  }
}

}  // namespace

Tensor read_region(const std::filesystem::path& path, int width, int height, double feather) {
  if (!std::isfinite(feather) || feather < 0 || feather > std::max(width, height)) {
    fail(ErrorKind::invalid_argument,
         "mask \"{}\": a feather of {} pixels on a picture of {}x{}; 0 to {} are possible",
         path.string(), feather, width, height, std::max(width, height));
  }
  const Image grey = grey_of(image::read_file(path).image);
  const Image fitted = image::resize(grey, width, height);
  Tensor region = Tensor::allocate({height, width}, DType::f32);
  float* values = region.mutable_data<float>();
  for (std::int64_t i = 0; i < region.count(); ++i)
    values[i] = static_cast<float>(fitted.pixels[static_cast<std::size_t>(i) * 3]) / 255.0f;
  // Nothing to soften: a mask of ones stays one to the bit, and so is no mask (AdapterUse::region).
  const bool is_even =
      std::ranges::all_of(region.floats(), [&](float value) { return value == *values; });
  if (feather == 0 || is_even) return region;
  const std::vector<float> kernel = half_kernel(feather);
  std::vector<float> copy;
  for (std::int64_t y = 0; y < height; ++y) soften(values + y * width, width, 1, kernel, copy);
  for (std::int64_t x = 0; x < width; ++x) soften(values + x, height, width, kernel, copy);
  return region;
}

}  // namespace velatura::engine
