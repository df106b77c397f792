#include "backend/cpu/convolution.h"
#include "backend/cpu/ops.h"
#include "backend/cpu/product.h"
#include "ops/context.h"

namespace velatura::backend::cpu {

void low_rank_update(const Tensor& x, const Weight& down, const Tensor& scales, const Weight& up,
                     const ConvGeometry* geometry, Tensor& y, ops::Context& context) {
  const std::int64_t rank = down.shape()[0];
  const std::int64_t rows = y.count() / y.size(-1);
  if (rank == 0 || rows == 0) return;
  Tensor inner = context.allocate({rows, rank}, x.dtype());
  ProductArguments arguments{
      .x = x.bytes(), .column_scales = scales.data<float>(), .y = inner.mutable_bytes()};
  ConvolutionSpec convolution;
  if (geometry) {
    convolution = convolution_spec(x, down, *geometry, {y.size(0), y.size(1), y.size(2), rank});
    convolution.column_scales = true;
  }
  if (geometry && !is_pointwise(convolution)) {
    run_convolution(convolution, down, arguments);
  } else {
    product({.type = x.dtype(), .rows = rows, .in = x.size(-1), .out = rank, .column_scales = true},
            down, arguments);
  }
  product({.type = x.dtype(), .rows = rows, .in = rank, .out = y.size(-1), .accumulate = true}, up,
          {.x = inner.bytes(), .y = y.mutable_bytes()});
}

}  // namespace velatura::backend::cpu
