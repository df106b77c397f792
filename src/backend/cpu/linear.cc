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

void linear(const Tensor& x, const Weight& weight, const Tensor& bias, const Epilogue& epilogue,
            Tensor& y) {
  const ProductSpec spec{.type = x.dtype(),
                         .rows = y.count() / y.size(-1),
                         .in = x.size(-1),
                         .out = y.size(-1),
                         .activation = epilogue.activation,
                         .bias = bias.defined(),
                         .residual = epilogue.residual != nullptr};
  product(spec, weight,
          {.x = x.bytes(),
           .bias = bias.defined() ? bias.data<float>() : nullptr,
           .residual = epilogue.residual ? epilogue.residual->bytes() : nullptr,
           .y = y.mutable_bytes()});
}

}  // namespace velatura::backend::cpu
