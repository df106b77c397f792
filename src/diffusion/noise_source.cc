#include "diffusion/noise_source.h"

#include "base/error.h"

namespace velatura::diffusion {

PictureNoise::PictureNoise(std::span<const std::uint64_t> seeds) {
  for (std::uint64_t seed : seeds) generators_.emplace_back(seed);
}

PictureNoise::PictureNoise(std::uint64_t first, std::int64_t pictures) {
  for (std::int64_t i = 0; i < pictures; ++i)
    generators_.emplace_back(first + static_cast<std::uint64_t>(i));
}

Tensor PictureNoise::draw(const Shape& shape) {
  const auto pictures = static_cast<std::int64_t>(generators_.size());
  if (shape.rank() < 1 || shape[0] != pictures) {
    fail(ErrorKind::mismatch, "noise of shape {} was asked of a source with seeds for {} pictures",
         shape.to_string(), pictures);
  }
  Tensor noise = Tensor::allocate(shape, DType::f32);
  const std::span<float> values = noise.mutable_floats();
  const std::size_t each = generators_.empty() ? 0 : values.size() / generators_.size();
  for (std::size_t i = 0; i < generators_.size(); ++i)
    generators_[i].randn(values.subspan(i * each, each));
  return noise;
}

Tensor BatchNoise::draw(const Shape& shape) {
  Tensor noise = Tensor::allocate(shape, DType::f32);
  generator_.randn(noise.mutable_floats());
  return noise;
}

}  // namespace velatura::diffusion
