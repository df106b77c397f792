#include "backend/cpu/dnnl/primitives.h"
#include "backend/cpu/ops.h"
#include "backend/cpu/weight_forms.h"

namespace velatura::backend::cpu {

void linear(const Tensor& x, const Weight& weight, const Tensor& bias, const Epilogue& epilogue,
            Tensor& y) {
  const ProductSpec spec{.type = x.dtype(),
                         .rows = y.count() / y.size(-1),
                         .in = x.size(-1),
                         .out = y.size(-1),
                         .activation = epilogue.activation,
                         .bias = bias.defined(),
                         .residual = epilogue.residual != nullptr};
  run_product(spec, {.x = x.bytes(),
                     .weight = plain_weight(weight, x.dtype()),
                     .bias = bias.defined() ? bias.data<float>() : nullptr,
                     .residual = epilogue.residual ? epilogue.residual->bytes() : nullptr,
                     .y = y.mutable_bytes()});
}

}  // namespace velatura::backend::cpu
