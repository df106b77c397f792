// The convolution of models, where adapters may act.
#pragma once

#include "nn/linear.h"
#include "ops/conv2d.h"

namespace velatura::nn {

/// What a convolution's constructor needs beside its place: square kernel, and how it moves over
/// the picture.
struct Conv2dShape {
  std::int64_t in_channels = 0;
  std::int64_t out_channels = 0;
  int kernel = 3;
  ops::ConvGeometry geometry = ops::ConvGeometry::same(3);
  Bias bias = Bias::with;

  /// A k × k kernel that keeps the picture's extents.
  static Conv2dShape same(std::int64_t in_channels, std::int64_t out_channels, int kernel = 3) {
    return {.in_channels = in_channels,
            .out_channels = out_channels,
            .kernel = kernel,
            .geometry = ops::ConvGeometry::same(kernel)};
  }
};

/// y = activation(x ∗ W + b) + residual on channels-last pictures. Const and cheap to copy.
class Conv2d {
 public:
  /// Reads `name`.weight [out, in, kernel, kernel] and `name`.bias, and joins the scope's tree.
  Conv2d(const Scope& scope, std::string_view name, const Conv2dShape& shape);

  /// x [N, H, W, in] → [N, H', W', out], with the run's adapters.
  Tensor forward(Run& run, const Tensor& x, const ops::Epilogue& epilogue = {}) const;

 private:
  std::shared_ptr<const ops::Weight> weight_;
  Tensor bias_;
  ops::ConvGeometry geometry_;
  LayerId id_;
};

}  // namespace velatura::nn
