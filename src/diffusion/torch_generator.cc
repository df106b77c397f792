#include "diffusion/torch_generator.h"

#include <array>
#include <bit>
#include <cmath>
#include <numbers>

#include "base/error.h"

// Source: aten/src/ATen/native/cpu/DistributionTemplates.h (normal_fill_AVX2),
// ATen/core/DistributionsHelper.h and ATen/native/cpu/avx_mathfun.h of PyTorch 2.x. The vectorised
// log, sin and cos are Cephes' single-precision polynomials, and the compiler contracted every a*b
// + c of them, so each is written as std::fma here; with libm's own functions one value of six
// differs in the last bit.

namespace velatura::diffusion {

namespace {

constexpr std::size_t kBlock = 16;  // eight radii, then eight angles

// Cephes logf for 0 < x <= 1.
float cephes_log(float x) {
  constexpr float kSqrtHalf = 0.707106781186547524f;
  constexpr std::array<float, 9> kPolynomial = {
      7.0376836292E-2f,  -1.1514610310E-1f, 1.1676998740E-1f,  -1.2420140846E-1f, 1.4249322787E-1f,
      -1.6668057665E-1f, 2.0000714765E-1f,  -2.4999993993E-1f, 3.3333331174E-1f};
  constexpr float kLn2Low = -2.12194440e-4f;
  constexpr float kLn2High = 0.693359375f;
  const auto bits = std::bit_cast<std::uint32_t>(x);
  float exponent = static_cast<float>(static_cast<std::int32_t>(bits >> 23) - 127) + 1.0f;
  float mantissa = std::bit_cast<float>((bits & 0x007fffffu) | 0x3f000000u);  // in [0.5, 1)
  if (mantissa < kSqrtHalf) {
    exponent -= 1.0f;
    mantissa = (mantissa - 1.0f) + mantissa;
  } else {
    mantissa -= 1.0f;
  }
  const float square = mantissa * mantissa;
  float y = kPolynomial[0];
  for (std::size_t i = 1; i < kPolynomial.size(); ++i) y = std::fma(y, mantissa, kPolynomial[i]);
  y *= mantissa;
  y = std::fma(y, square, exponent * kLn2Low);
  y = std::fma(-0.5f, square, y);
  return std::fma(exponent, kLn2High, mantissa + y);
}

struct SineCosine {
  float sine;
  float cosine;
};

// Cephes sinf and cosf for x >= 0 (angles below two pi).
SineCosine cephes_sincos(float x) {
  constexpr float kFourOverPi = 1.27323954473516f;
  // pi/4 in three parts, so that the reduction keeps its low bits (Cody and Waite).
  constexpr std::array<float, 3> kQuarterPi = {-0.78515625f, -2.4187564849853515625e-4f,
                                               -3.77489497744594108e-8f};
  const auto octant = (static_cast<std::uint32_t>(x * kFourOverPi) + 1u) & ~1u;
  const auto octants = static_cast<float>(octant);
  for (float part : kQuarterPi) x = std::fma(octants, part, x);
  const float square = x * x;

  float cosine = 2.443315711809948E-005f;
  cosine = std::fma(cosine, square, -1.388731625493765E-003f);
  cosine = std::fma(cosine, square, 4.166664568298827E-002f);
  cosine *= square;
  cosine = std::fma(cosine, square, -0.5f * square) + 1.0f;

  float sine = -1.9515295891E-4f;
  sine = std::fma(sine, square, 8.3321608736E-3f);
  sine = std::fma(sine, square, -1.6666654611E-1f);
  sine *= square;
  sine = std::fma(sine, x, x);

  const bool swapped = (octant & 2u) != 0;
  SineCosine result = swapped ? SineCosine{cosine, sine} : SineCosine{sine, cosine};
  if ((octant & 4u) != 0) result.sine = -result.sine;
  if (((octant - 2u) & 4u) == 0) result.cosine = -result.cosine;
  return result;
}

// Box-Muller on 16 uniforms in place.
void normal_from_uniform(std::span<float, kBlock> values) {
  constexpr float kTwoPi = 2.0f * std::numbers::pi_v<float>;
  for (std::size_t i = 0; i < kBlock / 2; ++i) {
    const float radius = std::sqrt(-2.0f * cephes_log(1.0f - values[i]));
    const SineCosine angle = cephes_sincos(kTwoPi * values[i + kBlock / 2]);
    values[i] = radius * angle.cosine;
    values[i + kBlock / 2] = radius * angle.sine;
  }
}

}  // namespace

float TorchGenerator::uniform_float() {
  return static_cast<float>(engine_() & 0xffffffu) * 0x1p-24f;
}

double TorchGenerator::uniform_double() {
  const std::uint64_t high = engine_();
  const std::uint64_t low = engine_();
  return static_cast<double>(((high << 32) | low) & ((std::uint64_t{1} << 53) - 1)) * 0x1p-53;
}

double TorchGenerator::normal_double() {
  if (kept_normal_) {
    const double kept = *kept_normal_;
    kept_normal_.reset();
    return kept;
  }
  const double angle = 2.0 * std::numbers::pi * uniform_double();
  const double radius = std::sqrt(-2.0 * std::log1p(-uniform_double()));
  kept_normal_ = radius * std::sin(angle);
  return radius * std::cos(angle);
}

void TorchGenerator::randn(std::span<float> values) {
  if (values.size() < kBlock) {
    for (float& value : values) value = static_cast<float>(normal_double());
    return;
  }
  for (float& value : values) value = uniform_float();
  for (std::size_t begin = 0; begin + kBlock <= values.size(); begin += kBlock) {
    normal_from_uniform(values.subspan(begin).first<kBlock>());
  }
  if (values.size() % kBlock != 0) {  // the last 16 are drawn afresh, some of them a second time
    const std::span<float, kBlock> tail = values.last<kBlock>();
    for (float& value : tail) value = uniform_float();
    normal_from_uniform(tail);
  }
}

void TorchGenerator::rand(std::span<float> values) {
  for (float& value : values) value = uniform_float();
}

void TorchGenerator::randint(std::int64_t low, std::int64_t high, std::span<std::int64_t> values) {
  constexpr std::int64_t kLargest = std::int64_t{1} << 32;
  if (high <= low || high - low > kLargest) {
    fail(ErrorKind::invalid_argument,
         "randint from {} to {}: expected low < high, at most 2^32 apart", low, high);
  }
  const auto range = static_cast<std::uint64_t>(high - low);
  for (std::int64_t& value : values) value = low + static_cast<std::int64_t>(engine_() % range);
}

}  // namespace velatura::diffusion
