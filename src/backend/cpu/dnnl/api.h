// The differences between oneDNN 2.x and 3.x, and nothing else.
#pragma once

#include <oneapi/dnnl/dnnl_version.h>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>

namespace velatura::backend::cpu::api {

inline void append_eltwise(dnnl::post_ops& ops, dnnl::algorithm algorithm, float alpha) {
#if DNNL_VERSION_MAJOR >= 3
  ops.append_eltwise(algorithm, alpha, 0.0f);
#else
  ops.append_eltwise(1.0f, algorithm, alpha, 0.0f);
#endif
}

/// `bias` may be the empty descriptor.
inline dnnl::matmul::primitive_desc matmul(const dnnl::engine& engine, const dnnl::memory::desc& x,
                                           const dnnl::memory::desc& weight,
                                           const dnnl::memory::desc& bias,
                                           const dnnl::memory::desc& y,
                                           const dnnl::primitive_attr& attributes) {
#if DNNL_VERSION_MAJOR >= 3
  return {engine, x, weight, bias, y, attributes};
#else
  return {dnnl::matmul::desc(x, weight, bias, y), attributes, engine};
#endif
}

inline dnnl::convolution_forward::primitive_desc convolution(
    const dnnl::engine& engine, const dnnl::memory::desc& x, const dnnl::memory::desc& weight,
    const dnnl::memory::desc& bias, const dnnl::memory::desc& y, const dnnl::memory::dims& strides,
    const dnnl::memory::dims& pads_before, const dnnl::memory::dims& pads_after,
    const dnnl::primitive_attr& attributes) {
  constexpr auto kKind = dnnl::prop_kind::forward_inference;
  constexpr auto kAlgorithm = dnnl::algorithm::convolution_direct;
#if DNNL_VERSION_MAJOR >= 3
  return {engine, kKind,   kAlgorithm,  x,          weight,    bias,
          y,      strides, pads_before, pads_after, attributes};
#else
  return {dnnl::convolution_forward::desc(kKind, kAlgorithm, x, weight, bias, y, strides,
                                          pads_before, pads_after),
          attributes, engine};
#endif
}

/// Bytes that are equal for equal layouts.
inline std::string fingerprint(const dnnl::memory::desc& layout) {
#if DNNL_VERSION_MAJOR >= 3
  const auto blob = layout.get_blob();
  return {blob.begin(), blob.end()};
#else
  return {reinterpret_cast<const char*>(&layout.data), sizeof(layout.data)};
#endif
}

}  // namespace velatura::backend::cpu::api
