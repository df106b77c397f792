#include "backend/cpu/primitive_table.h"

#include <limits>

namespace velatura::backend::cpu {

namespace {

/// A row holds for 3×3 convolutions of stride 1 and one pixel of padding in bf16, on CPUs with bf16
/// dot products.
struct WinogradRow {
  std::int64_t pixels_from;  ///< output pixels of one picture
  std::int64_t pixels_to;
  ConvolutionPrimitive primitive;
};

// Effective GFLOP/s (direct FLOPs), 2 threads, Zen 4, direct → Winograd: 64² 640→640 444 → 954, 32²
// 1280→1280 459 → 989, 16² 1280→1280 486 → 988, 8² 1280→1280 492 → 889 (002-cpu-primitives.md).
// Winograd's weights take 16/9 of the direct ones. At 16² of an SD1.5 UNet they would be 300 MB
// more for 6 % of a step's time, at 8² 390 MB for 4 %: a 512² picture has to be made within 3.0e9
// bytes (3.23e9 were measured with Winograd from 256 pixels on), so both stay direct.
constexpr WinogradRow kWinogradRows[] = {
    {0, 1023, ConvolutionPrimitive::direct},
    {1024, std::numeric_limits<std::int64_t>::max(), ConvolutionPrimitive::winograd_bf16},
};

bool winograd_fits(const ConvolutionSpec& s) {
  return s.type == DType::bf16 && s.kernel_height == 3 && s.kernel_width == 3 && s.stride == 1 &&
         s.pad_top == 1 && s.pad_left == 1 && s.pad_bottom == 1 && s.pad_right == 1 &&
         s.in % 32 == 0 && s.out % 64 == 0 && !s.column_scales;
}

}  // namespace

ConvolutionPrimitive primitive_of(const CpuFeatures& cpu, const ConvolutionSpec& spec) {
  if (!cpu.avx512_bf16 || !winograd_fits(spec)) return ConvolutionPrimitive::direct;
  const std::int64_t pixels = spec.out_height * spec.out_width;
  for (const WinogradRow& row : kWinogradRows) {
    if (row.pixels_from <= pixels && pixels <= row.pixels_to) return row.primitive;
  }
  return ConvolutionPrimitive::direct;
}

ProductPrimitive primitive_of(const CpuFeatures& cpu, const ProductSpec& spec) {
  const bool fits = spec.type == DType::bf16 && spec.in % 2 == 0;
  return cpu.avx512_bf16 && fits ? ProductPrimitive::panels_bf16 : ProductPrimitive::library;
}

bool merges_low_rank(const ProductSpec& spec, std::int64_t rank, std::int64_t rows_of_picture) {
  // Multiplications of both ways; a merged weight costs its products at 3/4 of the pace and is
  // written and read once.
  const std::int64_t beside = rows_of_picture * rank * (spec.in + spec.out);
  const std::int64_t merged = spec.in * spec.out * (rank * 4 / 3 + 16);
  return merged < beside;
}

std::int64_t winograd_block(const ConvolutionSpec& spec) {
  // 48 tiles of 640 channels fill 1 MB of second-level cache; wider layers stream their tiles from
  // the third level and gain more from reading the weights less often.
  return spec.in <= 640 ? 48 : 72;
}

}  // namespace velatura::backend::cpu
