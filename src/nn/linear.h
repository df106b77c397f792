// The linear layer of models, where adapters may act.
#pragma once

#include "nn/run.h"
#include "nn/scope.h"
#include "ops/linear.h"

namespace velatura::nn {

enum class Bias { with, without };

/// y = activation(x · Wᵀ + b) + residual. Const and cheap to copy; a model's jobs share it.
class Linear {
 public:
  /// Reads `name`.weight [out_features, in_features] and `name`.bias, and joins the scope's tree.
  Linear(const Scope& scope, std::string_view name, std::int64_t in_features,
         std::int64_t out_features, Bias bias = Bias::with);

  /// x [..., in_features] → [..., out_features], with the run's adapters.
  Tensor forward(Run& run, const Tensor& x, const ops::Epilogue& epilogue = {}) const;

 private:
  std::shared_ptr<const ops::Weight> weight_;
  Tensor bias_;
  LayerId id_;
};

}  // namespace velatura::nn
