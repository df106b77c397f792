// Who draws which noise. A batch is drawn picture by picture, so that picture i of a run equals the
// picture made alone.
#pragma once

#include <span>
#include <vector>

#include "diffusion/torch_generator.h"
#include "tensor/tensor.h"

namespace velatura::diffusion {

/// Standard normal noise for a whole batch, in order: the start latents first, then whatever the
/// sampler draws. Not thread-safe; one job, one source.
class NoiseSource {
 public:
  virtual ~NoiseSource() = default;
  /// A fresh f32 tensor of `shape`, [N, C, H, W].
  virtual Tensor draw(const Shape& shape) = 0;
};

/// Picture i has the generator of seeds[i] alone, and every draw gives it randn of [1, C, H, W].
class PictureNoise : public NoiseSource {
 public:
  explicit PictureNoise(std::span<const std::uint64_t> seeds);
  /// Seeds first, first + 1, … of `pictures` pictures.
  PictureNoise(std::uint64_t first, std::int64_t pictures);

  /// Throws mismatch when the outermost extent is not the number of seeds.
  Tensor draw(const Shape& shape) override;
  /// Draws for one picture only, from its generator: what an encoder's posterior sample needs.
  TorchGenerator& generator(std::size_t picture) { return generators_.at(picture); }

 private:
  std::vector<TorchGenerator> generators_;
};

/// One generator draws randn of the whole batch at once, as k-diffusion's examples do.
class BatchNoise : public NoiseSource {
 public:
  explicit BatchNoise(std::uint64_t seed) : generator_(seed) {}
  Tensor draw(const Shape& shape) override;

 private:
  TorchGenerator generator_;
};

}  // namespace velatura::diffusion
