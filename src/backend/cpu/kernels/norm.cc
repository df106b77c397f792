// Group and layer normalisation. Each reads its input twice: once for the statistics, once to
// write.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/kernels/norm.cc"
// clang-format off
#include <hwy/foreach_target.h>
// clang-format on
#include <hwy/highway.h>

#include <cmath>
#include <vector>

#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/kernels/vectors-inl.h"
#include "backend/cpu/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace velatura::backend::cpu::HWY_NAMESPACE {

/// Sum of `value(vector of x)` over one row, in f32 with four running sums.
template <typename T, typename Function>
HWY_INLINE float sum_row(const T* x, std::int64_t width, const Function& value) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  VF s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0;
  std::int64_t i = 0;
  for (; i + 4 * lanes <= width; i += 4 * lanes) {
    s0 = hn::Add(s0, value(load(d, x + i)));
    s1 = hn::Add(s1, value(load(d, x + i + lanes)));
    s2 = hn::Add(s2, value(load(d, x + i + 2 * lanes)));
    s3 = hn::Add(s3, value(load(d, x + i + 3 * lanes)));
  }
  for (; i + lanes <= width; i += lanes) s0 = hn::Add(s0, value(load(d, x + i)));
  if (i < width) {
    HWY_ALIGN T rest[hn::MaxLanes(F32())] = {};
    for (std::int64_t k = i; k < width; ++k) rest[k - i] = x[k];
    const auto mask = hn::FirstN(d, static_cast<std::size_t>(width - i));
    s1 = hn::Add(s1, hn::IfThenElseZero(mask, value(load(d, rest))));
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
}

/// y = x · scale[c] + shift[c], then SiLU where asked; per-channel factors.
template <typename T>
HWY_INLINE void affine_row(const T* x, const float* scale, const float* shift, bool silu,
                           std::int64_t width, T* y) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= width; i += lanes) {
    VF v = hn::MulAdd(load(d, x + i), hn::LoadU(d, scale + i), hn::LoadU(d, shift + i));
    if (silu) v = swish(d, v, 1.0f);
    store(d, v, y + i);
  }
  if (i == width) return;
  HWY_ALIGN T rest[hn::MaxLanes(F32())] = {};
  HWY_ALIGN float factors[2][hn::MaxLanes(F32())] = {};
  for (std::int64_t k = i; k < width; ++k) {
    rest[k - i] = x[k];
    factors[0][k - i] = scale[k];
    factors[1][k - i] = shift[k];
  }
  VF v = hn::MulAdd(load(d, rest), hn::Load(d, factors[0]), hn::Load(d, factors[1]));
  if (silu) v = swish(d, v, 1.0f);
  store(d, v, rest);
  for (std::int64_t k = i; k < width; ++k) y[k] = rest[k - i];
}

template <typename T>
void normalize_row(const T* x, const float* gamma, const float* beta, float epsilon,
                   std::int64_t width, T* y) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto n = static_cast<float>(width);
  const float mean = sum_row(x, width, [](VF v) HWY_ATTR { return v; }) / n;
  const VF center = hn::Set(d, mean);
  const float variance = sum_row(x, width,
                                 [center](VF v) HWY_ATTR {
                                   const VF distance = hn::Sub(v, center);
                                   return hn::Mul(distance, distance);
                                 }) /
                         n;
  const float inverse = 1.0f / std::sqrt(variance + epsilon);
  const VF factor = hn::Set(d, inverse);
  std::int64_t i = 0;
  for (; i + lanes <= width; i += lanes) {
    const VF v = hn::Mul(hn::Sub(load(d, x + i), center), factor);
    store(d, hn::MulAdd(v, hn::LoadU(d, gamma + i), hn::LoadU(d, beta + i)), y + i);
  }
  if (i == width) return;
  HWY_ALIGN T rest[hn::MaxLanes(F32())] = {};
  HWY_ALIGN float factors[2][hn::MaxLanes(F32())] = {};
  for (std::int64_t k = i; k < width; ++k) {
    rest[k - i] = x[k];
    factors[0][k - i] = gamma[k];
    factors[1][k - i] = beta[k];
  }
  const VF v = hn::Mul(hn::Sub(load(d, rest), center), factor);
  store(d, hn::MulAdd(v, hn::Load(d, factors[0]), hn::Load(d, factors[1])), rest);
  for (std::int64_t k = i; k < width; ++k) y[k] = rest[k - i];
}

/// Per channel over `pixels` rows of `channels`: sums of x - x0 and (x - x0)², x0 the first row.
/// The shift keeps the f32 sums from cancelling when the mean is large beside the deviation.
template <typename T>
void channel_sums(const T* x, std::int64_t pixels, std::int64_t channels, float* sums,
                  float* squares) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t c = 0;
  for (; c + 2 * lanes <= channels; c += 2 * lanes) {
    const VF first0 = load(d, x + c), first1 = load(d, x + c + lanes);
    VF s0 = hn::Zero(d), s1 = s0, q0 = s0, q1 = s0;
    for (std::int64_t p = 0; p < pixels; ++p) {
      const VF v0 = hn::Sub(load(d, x + p * channels + c), first0);
      const VF v1 = hn::Sub(load(d, x + p * channels + c + lanes), first1);
      s0 = hn::Add(s0, v0);
      s1 = hn::Add(s1, v1);
      q0 = hn::MulAdd(v0, v0, q0);
      q1 = hn::MulAdd(v1, v1, q1);
    }
    hn::StoreU(s0, d, sums + c);
    hn::StoreU(s1, d, sums + c + lanes);
    hn::StoreU(q0, d, squares + c);
    hn::StoreU(q1, d, squares + c + lanes);
  }
  const hn::CappedTag<float, 1> one;
  for (; c < channels; ++c) {
    const auto value = [&](std::int64_t p) HWY_ATTR {
      if constexpr (sizeof(T) == 4) {
        return x[p * channels + c];
      } else {
        return hn::GetLane(
            hn::BitCast(one, hn::Set(hn::RebindToUnsigned<decltype(one)>(),
                                     static_cast<std::uint32_t>(x[p * channels + c]) << 16)));
      }
    };
    const float first = value(0);
    float sum = 0, square = 0;
    for (std::int64_t p = 0; p < pixels; ++p) {
      const float v = value(p) - first;
      sum += v;
      square += v * v;
    }
    sums[c] = sum;
    squares[c] = square;
  }
}

template <typename T>
void affine_rows(const T* x, const float* scale, const float* shift, bool silu, std::int64_t rows,
                 std::int64_t width, T* y) {
  for (std::int64_t row = 0; row < rows; ++row) {
    affine_row(x + row * width, scale, shift, silu, width, y + row * width);
  }
}

void normalize_f32(const float* x, const float* gamma, const float* beta, float epsilon,
                   std::int64_t width, float* y) {
  normalize_row(x, gamma, beta, epsilon, width, y);
}
void normalize_bf16(const std::uint16_t* x, const float* gamma, const float* beta, float epsilon,
                    std::int64_t width, std::uint16_t* y) {
  normalize_row(x, gamma, beta, epsilon, width, y);
}
void sums_f32(const float* x, std::int64_t pixels, std::int64_t channels, float* sums,
              float* squares) {
  channel_sums(x, pixels, channels, sums, squares);
}
void sums_bf16(const std::uint16_t* x, std::int64_t pixels, std::int64_t channels, float* sums,
               float* squares) {
  channel_sums(x, pixels, channels, sums, squares);
}
void affine_f32(const float* x, const float* scale, const float* shift, bool silu,
                std::int64_t rows, std::int64_t width, float* y) {
  affine_rows(x, scale, shift, silu, rows, width, y);
}
void affine_bf16(const std::uint16_t* x, const float* scale, const float* shift, bool silu,
                 std::int64_t rows, std::int64_t width, std::uint16_t* y) {
  affine_rows(x, scale, shift, silu, rows, width, y);
}

}  // namespace velatura::backend::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "backend/cpu/cpu.h"
#include "backend/cpu/kernels/pointwise_bf16.h"
#include "base/half.h"

namespace velatura::backend::cpu {

HWY_EXPORT(normalize_f32);
HWY_EXPORT(normalize_bf16);
HWY_EXPORT(sums_f32);
HWY_EXPORT(sums_bf16);
HWY_EXPORT(affine_f32);
HWY_EXPORT(affine_bf16);

void layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, float epsilon,
                Tensor& y) {
  const std::int64_t width = x.size(-1);
  const float* scale = gamma.data<float>();
  const float* shift = beta.data<float>();
  parallel_for(x.count() / width, kElementwiseGrain / width + 1,
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t row = begin; row < end; ++row) {
                   if (x.dtype() == DType::f32) {
                     HWY_DYNAMIC_DISPATCH(normalize_f32)
                     (x.data<float>() + row * width, scale, shift, epsilon, width,
                      y.mutable_data<float>() + row * width);
                   } else {
                     HWY_DYNAMIC_DISPATCH(normalize_bf16)
                     (x.data<std::uint16_t>() + row * width, scale, shift, epsilon, width,
                      y.mutable_data<std::uint16_t>() + row * width);
                   }
                 }
               });
}

namespace {

float value_at(const Tensor& x, std::int64_t index) {
  return x.dtype() == DType::f32 ? x.data<float>()[index]
                                 : bf16_to_float(x.data<std::uint16_t>()[index]);
}

/// Pixels of one partial sum: f32 sums of 128 values lose little, and the partition does not depend
/// on the threads.
constexpr std::int64_t kChunk = 128;

/// Mean and sum of squared distances of `count` values, combined pairwise (Chan, Golub & LeVeque
/// 1979).
struct Moments {
  double count = 0, mean = 0, squares = 0;
  void merge(double other_count, double other_mean, double other_squares) {
    const double total = count + other_count;
    const double gap = other_mean - mean;
    mean += gap * other_count / total;
    squares += other_squares + gap * gap * count * other_count / total;
    count = total;
  }
};

/// scale and shift, [N, C] each, such that group_norm(x)[n, p, c] = x · scale + shift.
void factors_of(const Tensor& x, const ops::GroupNormArgs& args, std::vector<float>& scale,
                std::vector<float>& shift) {
  const std::int64_t pictures = x.size(0), pixels = x.size(1) * x.size(2), channels = x.size(3);
  const std::int64_t chunks = (pixels + kChunk - 1) / kChunk;
  std::vector<float> sums(static_cast<std::size_t>(pictures * chunks * channels));
  std::vector<float> squares(sums.size());
  parallel_for(pictures * chunks, kElementwiseGrain / (kChunk * channels) + 1,
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t part = begin; part < end; ++part) {
                   const std::int64_t first = part / chunks * pixels + part % chunks * kChunk;
                   const std::int64_t rows = std::min(kChunk, pixels - part % chunks * kChunk);
                   float* sum = sums.data() + part * channels;
                   float* square = squares.data() + part * channels;
                   if (x.dtype() == DType::f32) {
                     HWY_DYNAMIC_DISPATCH(sums_f32)
                     (x.data<float>() + first * channels, rows, channels, sum, square);
                   } else {
                     HWY_DYNAMIC_DISPATCH(sums_bf16)
                     (x.data<std::uint16_t>() + first * channels, rows, channels, sum, square);
                   }
                 }
               });
  const std::int64_t group_width = channels / args.groups;
  parallel_for(
      pictures * args.groups, kElementwiseGrain / (16 * chunks * group_width) + 1,
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t index = begin; index < end; ++index) {
          const std::int64_t picture = index / args.groups;
          const std::int64_t from = index % args.groups * group_width;
          Moments moments;
          for (std::int64_t c = from; c < from + group_width; ++c) {
            const double added =
                args.channel_add ? value_at(*args.channel_add, picture * channels + c) : 0;
            for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
              const std::int64_t part = picture * chunks + chunk;
              const auto n = static_cast<double>(std::min(kChunk, pixels - chunk * kChunk));
              const auto at = static_cast<std::size_t>(part * channels + c);
              const double sum = sums[at];
              const double origin =
                  value_at(x, (picture * pixels + chunk * kChunk) * channels + c) + added;
              moments.merge(n, origin + sum / n, squares[at] - sum * sum / n);
            }
          }
          const double inverse = 1.0 / std::sqrt(moments.squares / moments.count + args.epsilon);
          for (std::int64_t c = from; c < from + group_width; ++c) {
            const auto at = static_cast<std::size_t>(picture * channels + c);
            const double added =
                args.channel_add ? value_at(*args.channel_add, picture * channels + c) : 0;
            const double factor = inverse * args.gamma.data<float>()[c];
            scale[at] = static_cast<float>(factor);
            shift[at] =
                static_cast<float>(args.beta.data<float>()[c] + (added - moments.mean) * factor);
          }
        }
      });
}

}  // namespace

void group_norm(const Tensor& x, const ops::GroupNormArgs& args, Tensor& y) {
  const std::int64_t pixels = x.size(1) * x.size(2), channels = x.size(3);
  std::vector<float> scale(static_cast<std::size_t>(x.size(0) * channels));
  std::vector<float> shift(scale.size());
  factors_of(x, args, scale, shift);
  const bool silu = args.activation == ops::Activation::silu;
  const auto rows_of_picture = [&](std::int64_t picture, std::int64_t begin, std::int64_t end) {
    const std::int64_t offset = (picture * pixels + begin) * channels;
    const float* a = scale.data() + picture * channels;
    const float* b = shift.data() + picture * channels;
    if (x.dtype() == DType::f32) {
      HWY_DYNAMIC_DISPATCH(affine_f32)
      (x.data<float>() + offset, a, b, silu, end - begin, channels,
       y.mutable_data<float>() + offset);
    } else if (cpu_features().avx512_bf16) {
      kernels::affine_rows_bf16(x.data<std::uint16_t>() + offset, a, b, silu, end - begin, channels,
                                y.mutable_data<std::uint16_t>() + offset);
    } else {
      HWY_DYNAMIC_DISPATCH(affine_bf16)
      (x.data<std::uint16_t>() + offset, a, b, silu, end - begin, channels,
       y.mutable_data<std::uint16_t>() + offset);
    }
  };
  parallel_for(x.size(0) * pixels, kElementwiseGrain / channels + 1,
               [&](std::int64_t begin, std::int64_t end) {
                 while (begin < end) {
                   const std::int64_t picture = begin / pixels;
                   const std::int64_t stop = std::min(end, (picture + 1) * pixels);
                   rows_of_picture(picture, begin - picture * pixels, stop - picture * pixels);
                   begin = stop;
                 }
               });
}

}  // namespace velatura::backend::cpu
#endif
