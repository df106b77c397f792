// Pointwise ops over whole tensors: activation, gated GELU, scaled addition, conversion.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/kernels/pointwise.cc"
// clang-format off
#include <hwy/foreach_target.h>
// clang-format on
#include <hwy/highway.h>

#include <type_traits>

#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/kernels/vectors-inl.h"
#include "backend/cpu/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace velatura::backend::cpu::HWY_NAMESPACE {

/// Calls step(offset, vector tag count) over [0, count): whole vectors, then the rest through a
/// small buffer.
template <typename T, typename Function>
HWY_INLINE void map_values(const T* from, T* to, std::int64_t count, const Function& function) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) store(d, function(load(d, from + i), i), to + i);
  if (i == count) return;
  HWY_ALIGN T rest[hn::MaxLanes(F32())] = {};
  for (std::int64_t k = i; k < count; ++k) rest[k - i] = from[k];
  store(d, function(load(d, rest), i), rest);
  for (std::int64_t k = i; k < count; ++k) to[k] = rest[k - i];
}

template <typename T>
void activate(const T* x, ops::Activation kind, T* y, std::int64_t count) {
  const F32 d;
  using ops::Activation;
  switch (kind) {
    case Activation::none:
      map_values(x, y, count, [](VF v, std::int64_t) HWY_ATTR { return v; });
      break;
    case Activation::silu:
      map_values(x, y, count, [d](VF v, std::int64_t) HWY_ATTR { return swish(d, v, 1.0f); });
      break;
    case Activation::quick_gelu:
      map_values(x, y, count, [d](VF v, std::int64_t) HWY_ATTR { return swish(d, v, 1.702f); });
      break;
    case Activation::gelu:
      map_values(x, y, count, [d](VF v, std::int64_t) HWY_ATTR { return gelu(d, v); });
      break;
    case Activation::relu:
      map_values(x, y, count, [d](VF v, std::int64_t) HWY_ATTR { return hn::Max(v, hn::Zero(d)); });
      break;
    case Activation::leaky_relu:
      map_values(x, y, count, [d](VF v, std::int64_t) HWY_ATTR {
        return hn::Max(v, hn::Mul(v, hn::Set(d, 0.2f)));
      });
      break;
  }
}

void activate_f32(const float* x, ops::Activation kind, float* y, std::int64_t count) {
  activate(x, kind, y, count);
}
void activate_bf16(const std::uint16_t* x, ops::Activation kind, std::uint16_t* y,
                   std::int64_t count) {
  activate(x, kind, y, count);
}

/// One row: x = [value | gate], each `width` long.
template <typename T>
void gate_row(const T* x, std::int64_t width, T* y) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const T* gate = x + width;
  std::int64_t i = 0;
  for (; i + lanes <= width; i += lanes) {
    store(d, hn::Mul(load(d, x + i), gelu(d, load(d, gate + i))), y + i);
  }
  if (i == width) return;
  HWY_ALIGN T values[hn::MaxLanes(F32())] = {};
  HWY_ALIGN T gates[hn::MaxLanes(F32())] = {};
  for (std::int64_t k = i; k < width; ++k) {
    values[k - i] = x[k];
    gates[k - i] = gate[k];
  }
  store(d, hn::Mul(load(d, values), gelu(d, load(d, gates))), values);
  for (std::int64_t k = i; k < width; ++k) y[k] = values[k - i];
}

void gate_f32(const float* x, std::int64_t width, float* y) {
  gate_row(x, width, y);
}
void gate_bf16(const std::uint16_t* x, std::int64_t width, std::uint16_t* y) {
  gate_row(x, width, y);
}

template <typename T>
void add(const T* a, const T* b, float scale, T* y, std::int64_t count) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const VF factor = hn::Set(d, scale);
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    store(d, hn::MulAdd(load(d, b + i), factor, load(d, a + i)), y + i);
  }
  if (i == count) return;
  HWY_ALIGN T left[hn::MaxLanes(F32())] = {};
  HWY_ALIGN T right[hn::MaxLanes(F32())] = {};
  for (std::int64_t k = i; k < count; ++k) {
    left[k - i] = a[k];
    right[k - i] = b[k];
  }
  store(d, hn::MulAdd(load(d, right), factor, load(d, left)), left);
  for (std::int64_t k = i; k < count; ++k) y[k] = left[k - i];
}

void add_f32(const float* a, const float* b, float scale, float* y, std::int64_t count) {
  add(a, b, scale, y, count);
}
void add_bf16(const std::uint16_t* a, const std::uint16_t* b, float scale, std::uint16_t* y,
              std::int64_t count) {
  add(a, b, scale, y, count);
}

/// IEEE half precision and the two others, through f32.
struct Half {
  std::uint16_t bits;
};
HWY_INLINE VF load_any(F32 d, const float* from) {
  return load(d, from);
}
HWY_INLINE VF load_any(F32 d, const std::uint16_t* from) {
  return load(d, from);
}
HWY_INLINE VF load_any(F32 d, const Half* from) {
  const hn::Rebind<hwy::float16_t, F32> half;
  return hn::PromoteTo(d, hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(from)));
}
HWY_INLINE void store_any(F32 d, VF value, float* to) {
  store(d, value, to);
}
HWY_INLINE void store_any(F32 d, VF value, std::uint16_t* to) {
  store(d, value, to);
}
HWY_INLINE void store_any(F32 d, VF value, Half* to) {
  const hn::Rebind<hwy::float16_t, F32> half;
  hn::StoreU(hn::DemoteTo(half, value), half, reinterpret_cast<hwy::float16_t*>(to));
  (void)d;
}

template <typename From, typename To>
void convert_values(const From* from, To* to, std::int64_t count) {
  const F32 d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes) store_any(d, load_any(d, from + i), to + i);
  if (i == count) return;
  HWY_ALIGN From rest[hn::MaxLanes(F32())] = {};
  HWY_ALIGN To done[hn::MaxLanes(F32())] = {};
  for (std::int64_t k = i; k < count; ++k) rest[k - i] = from[k];
  store_any(d, load_any(d, rest), done);
  for (std::int64_t k = i; k < count; ++k) to[k] = done[k - i];
}

template <typename From>
void convert_from(const From* from, std::byte* to, DType to_type, std::int64_t count) {
  switch (to_type) {
    case DType::f32:
      return convert_values(from, reinterpret_cast<float*>(to), count);
    case DType::f16:
      return convert_values(from, reinterpret_cast<Half*>(to), count);
    default:
      return convert_values(from, reinterpret_cast<std::uint16_t*>(to), count);
  }
}

void convert_part(const std::byte* from, DType from_type, std::byte* to, DType to_type,
                  std::int64_t count) {
  switch (from_type) {
    case DType::f32:
      return convert_from(reinterpret_cast<const float*>(from), to, to_type, count);
    case DType::f16:
      return convert_from(reinterpret_cast<const Half*>(from), to, to_type, count);
    default:
      return convert_from(reinterpret_cast<const std::uint16_t*>(from), to, to_type, count);
  }
}

}  // namespace velatura::backend::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "backend/cpu/cpu.h"
#include "backend/cpu/kernels/pointwise_bf16.h"

namespace velatura::backend::cpu {

HWY_EXPORT(activate_f32);
HWY_EXPORT(activate_bf16);
HWY_EXPORT(gate_f32);
HWY_EXPORT(gate_bf16);
HWY_EXPORT(add_f32);
HWY_EXPORT(add_bf16);
HWY_EXPORT(convert_part);

void activation(const Tensor& x, ops::Activation kind, Tensor& y) {
  parallel_for(x.count(), kElementwiseGrain, [&](std::int64_t begin, std::int64_t end) {
    if (x.dtype() == DType::f32) {
      HWY_DYNAMIC_DISPATCH(activate_f32)
      (x.data<float>() + begin, kind, y.mutable_data<float>() + begin, end - begin);
    } else {
      HWY_DYNAMIC_DISPATCH(activate_bf16)
      (x.data<std::uint16_t>() + begin, kind, y.mutable_data<std::uint16_t>() + begin, end - begin);
    }
  });
}

void geglu(const Tensor& x, Tensor& y) {
  const std::int64_t width = y.size(-1);
  parallel_for(
      y.count() / width, kElementwiseGrain / width + 1, [&](std::int64_t begin, std::int64_t end) {
        if (x.dtype() == DType::bf16 && cpu_features().avx512_bf16) {
          return kernels::gate_rows_bf16(x.data<std::uint16_t>() + 2 * begin * width, end - begin,
                                         width, y.mutable_data<std::uint16_t>() + begin * width);
        }
        for (std::int64_t row = begin; row < end; ++row) {
          if (x.dtype() == DType::f32) {
            HWY_DYNAMIC_DISPATCH(gate_f32)
            (x.data<float>() + 2 * row * width, width, y.mutable_data<float>() + row * width);
          } else {
            HWY_DYNAMIC_DISPATCH(gate_bf16)
            (x.data<std::uint16_t>() + 2 * row * width, width,
             y.mutable_data<std::uint16_t>() + row * width);
          }
        }
      });
}

void scaled_add(const Tensor& a, const Tensor& b, float scale, Tensor& y) {
  parallel_for(a.count(), kElementwiseGrain, [&](std::int64_t begin, std::int64_t end) {
    if (a.dtype() == DType::f32) {
      HWY_DYNAMIC_DISPATCH(add_f32)
      (a.data<float>() + begin, b.data<float>() + begin, scale, y.mutable_data<float>() + begin,
       end - begin);
    } else {
      HWY_DYNAMIC_DISPATCH(add_bf16)
      (a.data<std::uint16_t>() + begin, b.data<std::uint16_t>() + begin, scale,
       y.mutable_data<std::uint16_t>() + begin, end - begin);
    }
  });
}

void masked_add(const Tensor& delta, const Tensor& mask, float scale, Tensor& y) {
  const std::int64_t width = y.size(-1);
  const float* weights = mask.data<float>();
  parallel_for(y.count() / width, kElementwiseGrain / width + 1,
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t row = begin; row < end; ++row) {
                   const float weight = weights[row % mask.count()];
                   if (weight == 0) continue;
                   const std::int64_t at = row * width;
                   if (y.dtype() == DType::f32) {
                     HWY_DYNAMIC_DISPATCH(add_f32)
                     (y.data<float>() + at, delta.data<float>() + at, scale * weight,
                      y.mutable_data<float>() + at, width);
                   } else {
                     HWY_DYNAMIC_DISPATCH(add_bf16)
                     (y.data<std::uint16_t>() + at, delta.data<std::uint16_t>() + at,
                      scale * weight, y.mutable_data<std::uint16_t>() + at, width);
                   }
                 }
               });
}

bool convert(const std::byte* from, DType from_type, std::byte* to, DType to_type,
             std::int64_t count) {
  const auto known = [](DType type) {
    return type == DType::f32 || type == DType::f16 || type == DType::bf16;
  };
  if (!known(from_type) || !known(to_type)) return false;
  const auto from_size = static_cast<std::int64_t>(size_of(from_type));
  const auto to_size = static_cast<std::int64_t>(size_of(to_type));
  parallel_for(count, kElementwiseGrain, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(convert_part)
    (from + begin * from_size, from_type, to + begin * to_size, to_type, end - begin);
  });
  return true;
}

}  // namespace velatura::backend::cpu
#endif
