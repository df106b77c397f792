#include "image/resize.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <utility>
#include <vector>

#include "base/error.h"
#include "image/formats.h"

namespace velatura::image {
namespace {

constexpr double kLanczosSupport = 3.0;
/// Fraction bits of the weights: 32 less 8 for the value and 2 for what Lanczos overshoots
/// (Pillow's choice).
constexpr int kPrecisionBits = 32 - 8 - 2;

double sinc(double x) {
  if (x == 0.0) return 1.0;
  const double angle = x * std::numbers::pi;
  return std::sin(angle) / angle;
}

double lanczos(double x) {
  return x >= -kLanczosSupport && x < kLanczosSupport ? sinc(x) * sinc(x / kLanczosSupport) : 0.0;
}

/// The inputs that make one output: `weights` of inputs first, first + 1, …
struct Window {
  int first;
  std::vector<std::int32_t> weights;
};

std::vector<Window> windows(int in_size, int out_size) {
  const double scale = static_cast<double>(in_size) / out_size;
  const double stretch = std::max(scale, 1.0);
  const double support = kLanczosSupport * stretch;
  std::vector<Window> result;
  result.reserve(static_cast<std::size_t>(out_size));
  for (int out = 0; out < out_size; ++out) {
    const double center = (out + 0.5) * scale;
    // Pillow's rounding: cut after adding a half, towards zero.
    // NOLINTBEGIN(bugprone-incorrect-roundings)
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int last = std::min(static_cast<int>(center + support + 0.5), in_size);
    // NOLINTEND(bugprone-incorrect-roundings)
    std::vector<double> exact;
    double sum = 0.0;
    const double shrink = 1.0 / stretch;
    for (int x = 0; x < last - first; ++x) {
      exact.push_back(lanczos((x + first - center + 0.5) * shrink));
      sum += exact.back();
    }
    Window window{first, {}};
    for (double weight : exact) {
      if (sum != 0.0) weight /= sum;
      window.weights.push_back(
          static_cast<std::int32_t>((weight < 0 ? -0.5 : 0.5) + weight * (1 << kPrecisionBits)));
    }
    result.push_back(std::move(window));
  }
  return result;
}

std::uint8_t to_byte(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255));
}

/// One pass: `lines` lines of out_size pixels. Offsets of the input are line · in_line + place ·
/// in_step, in bytes; the output is laid out alike.
struct Pass {
  std::size_t lines;
  std::size_t in_line, in_step;
  std::size_t out_line, out_step;
  std::size_t channels;
};

void resample(const std::uint8_t* in, std::uint8_t* out, const std::vector<Window>& table,
              const Pass& pass) {
  for (std::size_t line = 0; line < pass.lines; ++line) {
    for (std::size_t place = 0; place < table.size(); ++place) {
      const Window& window = table[place];
      const std::uint8_t* source =
          in + line * pass.in_line + static_cast<std::size_t>(window.first) * pass.in_step;
      std::uint8_t* target = out + line * pass.out_line + place * pass.out_step;
      for (std::size_t c = 0; c < pass.channels; ++c) {
        std::int32_t sum = 1 << (kPrecisionBits - 1);
        for (std::size_t i = 0; i < window.weights.size(); ++i)
          sum += source[i * pass.in_step + c] * window.weights[i];
        target[c] = to_byte(sum);
      }
    }
  }
}

}  // namespace

Image resize(const Image& image, int width, int height) {
  VELATURA_CHECK(image.width > 0 && image.height > 0 && width > 0 && height > 0);
  const auto channels = static_cast<std::size_t>(image.channels);
  const Image* source = &image;
  Image wide;
  if (width != image.width) {
    wide = make_image(width, image.height, image.channels);
    const Pass pass{static_cast<std::size_t>(image.height),
                    static_cast<std::size_t>(image.width) * channels,
                    channels,
                    static_cast<std::size_t>(width) * channels,
                    channels,
                    channels};
    resample(image.pixels.data(), wide.pixels.data(), windows(image.width, width), pass);
    source = &wide;
  }
  if (height == image.height) return *source;
  Image result = make_image(width, height, image.channels);
  const std::size_t row = static_cast<std::size_t>(width) * channels;
  const Pass pass{static_cast<std::size_t>(width), channels, row, channels, row, channels};
  resample(source->pixels.data(), result.pixels.data(), windows(image.height, height), pass);
  return result;
}

Image cover(const Image& image, int width, int height) {
  VELATURA_CHECK(image.width > 0 && image.height > 0 && width > 0 && height > 0);
  // The side that fits exactly keeps its size, the other follows; compared as products to stay
  // exact.
  const std::int64_t target = static_cast<std::int64_t>(width) * image.height;
  const std::int64_t given = static_cast<std::int64_t>(image.width) * height;
  const int scaled_width = target > given ? width : static_cast<int>(given / image.height);
  const int scaled_height = target <= given ? height : static_cast<int>(target / image.width);
  Image scaled = resize(image, std::max(scaled_width, width), std::max(scaled_height, height));
  if (scaled.width == width && scaled.height == height) return scaled;

  const int left = scaled.width / 2 - width / 2;
  const int top = scaled.height / 2 - height / 2;
  Image result = make_image(width, height, image.channels);
  const std::size_t row =
      static_cast<std::size_t>(width) * static_cast<std::size_t>(image.channels);
  for (int y = 0; y < height; ++y) {
    const std::size_t from =
        (static_cast<std::size_t>(y + top) * static_cast<std::size_t>(scaled.width) +
         static_cast<std::size_t>(left)) *
        static_cast<std::size_t>(image.channels);
    std::copy_n(
        scaled.pixels.begin() + static_cast<std::ptrdiff_t>(from), row,
        result.pixels.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(y) * row));
  }
  return result;
}

Image to_rgb(Image image) {
  if (image.channels == 3) return image;
  Image result = make_image(image.width, image.height, 3);
  for (std::size_t i = 0; i < result.pixels.size() / 3; ++i) {
    const unsigned alpha = image.pixels[4 * i + 3];
    for (std::size_t c = 0; c < 3; ++c) {
      const unsigned light = image.pixels[4 * i + c] * alpha + 255u * (255u - alpha);
      result.pixels[3 * i + c] = static_cast<std::uint8_t>((light + 127) / 255);
    }
  }
  return result;
}

}  // namespace velatura::image
