#include "nn/conv2d.h"

#include "nn/patched_product.h"

namespace velatura::nn {

Conv2d::Conv2d(const Scope& scope, std::string_view name, const Conv2dShape& shape)
    : geometry_(shape.geometry) {
  const weights::Scope own = scope.weights.child(name);
  weight_ = std::make_shared<const ops::Weight>(
      own.get("weight", {shape.out_channels, shape.in_channels, shape.kernel, shape.kernel}),
      own.releaser("weight"));
  if (shape.bias == Bias::with) bias_ = own.get_f32("bias", {shape.out_channels});
  id_ = scope.tree->add({.path = scope.weights.path(name),
                         .kind = LayerKind::conv2d,
                         .weight = weight_,
                         .bias = bias_,
                         .geometry = geometry_});
}

Tensor Conv2d::forward(Run& run, const Tensor& x, const ops::Epilogue& epilogue) const {
  return patched_product(run, patched_rows(run, id_, x.size(0)), x, *weight_, bias_, epilogue,
                         [&](const Tensor& rows, const ops::Weight& weight, const Tensor& bias,
                             const ops::Epilogue& end) {
                           return ops::conv2d(run.ops, rows, weight, bias, geometry_, end);
                         });
}

}  // namespace velatura::nn
