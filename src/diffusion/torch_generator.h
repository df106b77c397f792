// PyTorch's random numbers on the CPU, bit for bit, so that a seed means the same picture here and
// there. Not here: which picture of a batch draws what (noise_source.h).
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <span>

namespace velatura::diffusion {

/// torch.Generator("cpu"): a Mersenne twister (mt19937) seeded with the low 32 bits of the seed.
/// Values equal those of PyTorch 2.x on x86-64 with AVX2, on any processor. Not thread-safe;
/// copyable, a copy continues from the same state.
class TorchGenerator {
 public:
  explicit TorchGenerator(std::uint64_t seed) : engine_(static_cast<std::uint32_t>(seed)) {}

  /// torch.randn of values.size() elements. Fewer than 16 are drawn one by one (Box-Muller in
  /// double; the second value of a pair waits for the next such draw), 16 and more in blocks of 16.
  void randn(std::span<float> values);
  /// torch.rand: multiples of 2^-24 in [0, 1).
  void rand(std::span<float> values);
  /// torch.randint(low, high): low <= value < high, high - low <= 2^32.
  void randint(std::int64_t low, std::int64_t high, std::span<std::int64_t> values);

 private:
  float uniform_float();
  double uniform_double();
  double normal_double();

  std::mt19937 engine_;
  std::optional<double> kept_normal_;
};

}  // namespace velatura::diffusion
