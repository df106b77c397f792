// Group and layer normalisation of models. Adapters may replace gamma and beta; nothing is added to
// a norm's output.
#pragma once

#include "nn/run.h"
#include "nn/scope.h"
#include "ops/norm.h"

namespace velatura::nn {

/// Gamma and beta of a norm as a layer of the tree: the patch's where there is one, else the
/// file's.
class NormParameters {
 public:
  NormParameters(const Scope& scope, std::string_view name, std::int64_t channels);
  struct Values {
    Tensor gamma, beta;  ///< f32 [C]
  };
  Values values(const LayerPatch* patch) const;
  LayerId id() const { return id_; }

 private:
  std::shared_ptr<const ops::Weight> gamma_;  ///< f32 [C]
  Tensor beta_;
  LayerId id_;
};

class GroupNorm {
 public:
  struct End {
    ops::Activation activation = ops::Activation::none;  ///< none or silu
    const Tensor* channel_add = nullptr;  ///< [N, C], added to x before the statistics
  };
  GroupNorm(const Scope& scope, std::string_view name, std::int64_t channels, int groups,
            float epsilon)
      : parameters_(scope, name, channels), groups_(groups), epsilon_(epsilon) {}
  /// x [N, H, W, C] → same shape.
  Tensor forward(Run& run, const Tensor& x, const End& end) const;
  Tensor forward(Run& run, const Tensor& x) const { return forward(run, x, End{}); }

 private:
  NormParameters parameters_;
  int groups_;
  float epsilon_;
};

class LayerNorm {
 public:
  LayerNorm(const Scope& scope, std::string_view name, std::int64_t channels, float epsilon)
      : parameters_(scope, name, channels), epsilon_(epsilon) {}
  /// x [..., C] → same shape.
  Tensor forward(Run& run, const Tensor& x) const;

 private:
  NormParameters parameters_;
  float epsilon_;
};

}  // namespace velatura::nn
