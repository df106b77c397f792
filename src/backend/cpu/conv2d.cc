#include "backend/cpu/convolution.h"
#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/ops.h"
#include "backend/cpu/primitive_table.h"
#include "backend/cpu/winograd.h"

namespace velatura::backend::cpu {

ConvolutionSpec convolution_spec(const Tensor& x, const Weight& weight,
                                 const ConvGeometry& geometry, const Shape& y) {
  return {.type = x.dtype(),
          .batch = x.size(0),
          .height = x.size(1),
          .width = x.size(2),
          .in = x.size(3),
          .out_height = y[1],
          .out_width = y[2],
          .out = y[3],
          .kernel_height = weight.shape()[2],
          .kernel_width = weight.shape()[3],
          .stride = geometry.stride,
          .pad_top = geometry.pad_top,
          .pad_left = geometry.pad_left,
          .pad_bottom = geometry.pad_bottom,
          .pad_right = geometry.pad_right};
}

bool is_pointwise(const ConvolutionSpec& spec) {
  return spec.kernel_height == 1 && spec.kernel_width == 1 && spec.stride == 1 &&
         spec.out_height == spec.height && spec.out_width == spec.width;
}

namespace {

/// Where padding is as wide as the kernel, windows lie wholly in it, and there oneDNN (2.6, f32)
/// reads a residual at the wrong place.
bool has_empty_windows(const ConvolutionSpec& spec) {
  return spec.pad_top >= spec.kernel_height || spec.pad_bottom >= spec.kernel_height ||
         spec.pad_left >= spec.kernel_width || spec.pad_right >= spec.kernel_width;
}

}  // namespace

void conv2d(const Tensor& x, const Weight& weight, const Tensor& bias, const ConvGeometry& geometry,
            const Epilogue& epilogue, Tensor& y) {
  ConvolutionSpec spec = convolution_spec(x, weight, geometry, y.shape());
  if (is_pointwise(spec)) return linear(x, weight, bias, epilogue, y);
  if (epilogue.residual != nullptr && x.dtype() == DType::f32 && has_empty_windows(spec)) {
    conv2d(x, weight, bias, geometry, {.activation = epilogue.activation}, y);
    return scaled_add(y, *epilogue.residual, 1.0f, y);
  }
  spec.activation = epilogue.activation;
  spec.bias = bias.defined();
  spec.residual = epilogue.residual != nullptr;
  const ProductArguments arguments{
      .x = x.bytes(),
      .bias = bias.defined() ? bias.data<float>() : nullptr,
      .residual = epilogue.residual ? epilogue.residual->bytes() : nullptr,
      .y = y.mutable_bytes()};
  switch (primitive_of(cpu_features(), spec)) {
    case ConvolutionPrimitive::winograd_bf16:
      return run_winograd(spec, weight, arguments);
    case ConvolutionPrimitive::direct:
      return run_convolution(spec, weight, arguments);
  }
}

}  // namespace velatura::backend::cpu
