// 3×3 convolution by Winograd's F(2×2, 3×3) (Winograd 1980; Lavin & Gray 2016) with bf16 products:
// 16 multiplications where the direct form needs 36. The transforms add and subtract at most four
// bf16 values, so the rounding of the transformed picture is of the size of bf16's own. One call is
// one thread's part; nothing is allocated.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ops/activation.h"

namespace velatura::backend::cpu::kernels {

/// Channels-last pictures, stride 1, one pixel of zero padding. in_channels is a multiple of 32,
/// out_channels of 64.
struct WinogradProblem {
  std::int64_t batch = 0, height = 0, width = 0, in_channels = 0, out_channels = 0;
  ops::Activation activation = ops::Activation::none;
  const std::uint16_t* x = nullptr;         ///< bf16 [batch, height, width, in_channels]
  const std::uint16_t* weight = nullptr;    ///< from winograd_pack
  const float* bias = nullptr;              ///< [out_channels] or null
  const std::uint16_t* residual = nullptr;  ///< bf16, y's shape, or null
  std::uint16_t* y = nullptr;               ///< bf16 [batch, height, width, out_channels]

  std::int64_t tiles_across() const { return (width + 1) / 2; }
  std::int64_t tiles_down() const { return (height + 1) / 2; }
  std::int64_t tiles() const { return batch * tiles_down() * tiles_across(); }
};

/// Outputs of a panel: the unit in which output channels are split between threads.
inline constexpr std::int64_t kWinogradPanel = 64;

/// Bytes of the packed weights: 16 bf16 values for 9.
std::size_t winograd_weight_bytes(std::int64_t in_channels, std::int64_t out_channels);
/// Transforms and packs the panels [begin, end) of f32 weights. `panel_values` gives panel p's
/// kernels as f32 [64][in_channels][9] at panel_values + (p - begin) · 64 · in_channels · 9.
void winograd_pack(const float* panel_values, std::int64_t in_channels, std::int64_t begin,
                   std::int64_t end, std::uint16_t* packed);

/// Bytes of scratch for blocks of `block_tiles` tiles.
std::size_t winograd_scratch_bytes(const WinogradProblem& problem, std::int64_t block_tiles);
/// Computes panels [panel_begin, panel_end) of tiles [tile_begin, tile_end), in blocks of
/// block_tiles.
void winograd_tiles(const WinogradProblem& problem, std::int64_t tile_begin, std::int64_t tile_end,
                    std::int64_t panel_begin, std::int64_t panel_end, std::int64_t block_tiles,
                    std::byte* scratch);

}  // namespace velatura::backend::cpu::kernels
