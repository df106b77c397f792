#include "backend/cpu/dnnl/primitives.h"
#include "backend/cpu/ops.h"
#include "backend/cpu/primitive_table.h"
#include "backend/cpu/product.h"
#include "backend/cpu/weight_forms.h"

namespace velatura::backend::cpu {

void product(const ProductSpec& spec, const Weight& weight, ProductArguments arguments) {
  if (primitive_of(cpu_features(), spec) == ProductPrimitive::panels_bf16) {
    return run_panels(spec, weight, arguments);
  }
  arguments.weight = plain_weight(weight, spec.type);
  run_product(spec, arguments);
}

namespace {

ProductSpec linear_spec(const Tensor& x, const Tensor& bias, const Epilogue& epilogue,
                        const Tensor& y) {
  return {.type = x.dtype(),
          .rows = y.count() / y.size(-1),
          .in = x.size(-1),
          .out = y.size(-1),
          .activation = epilogue.activation,
          .bias = bias.defined(),
          .residual = epilogue.residual != nullptr};
}

ProductArguments linear_arguments(const Tensor& x, const Tensor& bias, const Epilogue& epilogue,
                                  Tensor& y) {
  return {.x = x.bytes(),
          .bias = bias.defined() ? bias.data<float>() : nullptr,
          .residual = epilogue.residual ? epilogue.residual->bytes() : nullptr,
          .y = y.mutable_bytes()};
}

}  // namespace

void linear(const Tensor& x, const Weight& weight, const Tensor& bias, const Epilogue& epilogue,
            Tensor& y) {
  product(linear_spec(x, bias, epilogue, y), weight, linear_arguments(x, bias, epilogue, y));
}

bool linear_low_rank(const Tensor& x, const Weight& weight, const Tensor& bias,
                     const ops::LowRank& low_rank, const Epilogue& epilogue, Tensor& y) {
  const ProductSpec spec = linear_spec(x, bias, epilogue, y);
  if (primitive_of(cpu_features(), spec) != ProductPrimitive::panels_bf16) return false;
  const std::int64_t pictures = x.rank() >= 3 ? x.size(0) : 1;
  return run_panels_low_rank(spec, weight, low_rank, linear_arguments(x, bias, epilogue, y),
                             spec.rows / pictures);
}

}  // namespace velatura::backend::cpu
