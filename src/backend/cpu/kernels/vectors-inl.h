// Loads and stores of f32 and bf16 as f32 vectors, and the pointwise functions on them. Compiled
// once a target.
#if defined(VELATURA_CPU_VECTORS_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef VELATURA_CPU_VECTORS_INL
#undef VELATURA_CPU_VECTORS_INL
#else
#define VELATURA_CPU_VECTORS_INL
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace velatura::backend::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using VF = hn::Vec<F32>;

HWY_INLINE VF load(F32 d, const float* from) {
  return hn::LoadU(d, from);
}
HWY_INLINE VF load(F32 d, const std::uint16_t* from) {
  const hn::Rebind<std::uint16_t, F32> half;
  const hn::RebindToUnsigned<F32> bits;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(bits, hn::LoadU(half, from))));
}

HWY_INLINE void store(F32 d, VF value, float* to) {
  hn::StoreU(value, d, to);
}
/// Rounds to nearest even; a NaN stays one.
HWY_INLINE void store(F32 d, VF value, std::uint16_t* to) {
  const hn::RebindToUnsigned<F32> u32;
  const hn::RebindToSigned<F32> i32;
  const hn::Rebind<std::uint16_t, F32> half;
  const auto bits = hn::BitCast(u32, value);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(u32, 1));
  const auto rounded = hn::ShiftRight<16>(hn::Add(bits, hn::Add(odd, hn::Set(u32, 0x7fff))));
  const auto quiet = hn::Or(hn::ShiftRight<16>(bits), hn::Set(u32, 0x40));
  const auto is_nan = hn::RebindMask(u32, hn::IsNaN(value));
  const auto result = hn::IfThenElse(is_nan, quiet, rounded);
  hn::StoreU(hn::DemoteTo(half, hn::BitCast(i32, result)), half, to);
  (void)d;
}

/// e^x by 2^n · 2^f, |f| <= 1/2, a polynomial of degree 6 (error below 2 units in the last place).
/// Saturates at the ends of the normal range.
HWY_INLINE VF exp(F32 d, VF x) {
  const hn::RebindToSigned<F32> i32;
  x = hn::Min(hn::Max(x, hn::Set(d, -87.0f)), hn::Set(d, 88.0f));
  const VF n = hn::Round(hn::Mul(x, hn::Set(d, 1.44269504f)));
  // ln 2 in two parts: n · high is exact.
  VF r = hn::NegMulAdd(n, hn::Set(d, 0.693359375f), x);
  r = hn::NegMulAdd(n, hn::Set(d, -2.12194440e-4f), r);
  VF p = hn::Set(d, 1.9875691500e-4f);  // coefficients: Cephes expf (Moshier)
  p = hn::MulAdd(p, r, hn::Set(d, 1.3981999507e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 8.3334519073e-3f));
  p = hn::MulAdd(p, r, hn::Set(d, 4.1665795894e-2f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.6666665459e-1f));
  p = hn::MulAdd(p, r, hn::Set(d, 5.0000001201e-1f));
  p = hn::Add(hn::MulAdd(p, hn::Mul(r, r), r), hn::Set(d, 1.0f));
  const auto power = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(i32, n), hn::Set(i32, 127)));
  return hn::Mul(p, hn::BitCast(d, power));
}

/// x · sigmoid(alpha · x)
HWY_INLINE VF swish(F32 d, VF x, float alpha) {
  const VF e = exp(d, hn::Mul(x, hn::Set(d, -alpha)));
  return hn::Div(x, hn::Add(hn::Set(d, 1.0f), e));
}

/// x · Φ(x). erf by Abramowitz & Stegun 7.1.26: absolute error 1.5e-7.
HWY_INLINE VF gelu(F32 d, VF x) {
  const VF z = hn::Mul(hn::Abs(x), hn::Set(d, 0.70710678f));
  const VF one = hn::Set(d, 1.0f);
  const VF t = hn::Div(one, hn::MulAdd(z, hn::Set(d, 0.3275911f), one));
  VF p = hn::Set(d, 1.061405429f);
  p = hn::MulAdd(p, t, hn::Set(d, -1.453152027f));
  p = hn::MulAdd(p, t, hn::Set(d, 1.421413741f));
  p = hn::MulAdd(p, t, hn::Set(d, -0.284496736f));
  p = hn::MulAdd(p, t, hn::Set(d, 0.254829592f));
  const VF tail = hn::Mul(hn::Mul(p, t), exp(d, hn::Neg(hn::Mul(z, z))));  // erfc(z), z >= 0
  // Φ(x) = tail / 2 below zero and 1 - tail / 2 above: no cancellation on the small side.
  const VF half_tail = hn::Mul(tail, hn::Set(d, 0.5f));
  const VF phi = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), half_tail, hn::Sub(one, half_tail));
  return hn::Mul(x, phi);
}

}  // namespace velatura::backend::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif
