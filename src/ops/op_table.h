// What a backend implements: one function an op. The contracts stand in the op's own header
// (linear.h, conv2d.h …); callers use the free functions there, which check shapes and types once
// and then come here. A backend only computes. An op or type a backend lacks is an `unsupported`
// error that names op, type and backend.
#pragma once

#include <string_view>

#include "ops/activation.h"
#include "ops/attention.h"
#include "ops/conv2d.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/weight.h"
#include "tensor/tensor.h"

namespace velatura::ops {

/// Thread-safe: several jobs may call one table at once. Outputs are allocated by the free
/// functions.
class OpTable {
 public:
  virtual ~OpTable() = default;
  virtual std::string_view name() const = 0;

  virtual void linear(const Tensor& x, const Weight& weight, const Tensor& bias,
                      const Epilogue& epilogue, Tensor& y) = 0;
  virtual void conv2d(const Tensor& x, const Weight& weight, const Tensor& bias,
                      const ConvGeometry& geometry, const Epilogue& epilogue, Tensor& y) = 0;
  virtual void low_rank_update(const Tensor& x, const Weight& down, const Tensor& scales,
                               const Weight& up, const ConvGeometry* geometry, Tensor& y,
                               class Context& context) = 0;
  /// False, with nothing done, where a backend has no faster way than linear and low_rank_update in
  /// turn.
  virtual bool linear_low_rank(const Tensor& /*x*/, const Weight& /*weight*/,
                               const Tensor& /*bias*/, const struct LowRank& /*low_rank*/,
                               const Epilogue& /*epilogue*/, Tensor& /*y*/) {
    return false;
  }
  /// `geometry` null: a linear layer's.
  virtual void kronecker_update(const Tensor& x, const Weight& w1, const Weight& w2,
                                const Tensor& scale, const ConvGeometry* geometry, Tensor& y) = 0;
  virtual void group_norm(const Tensor& x, const GroupNormArgs& args, Tensor& y) = 0;
  virtual void layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, float epsilon,
                          Tensor& y) = 0;
  virtual void attention(const Tensor& q, const Tensor& k, const Tensor& v,
                         const AttentionArgs& args, Tensor& y) = 0;
  virtual void activation(const Tensor& x, Activation kind, Tensor& y) = 0;
  virtual void geglu(const Tensor& x, Tensor& y) = 0;
  /// y may be a.
  virtual void scaled_add(const Tensor& a, const Tensor& b, float scale, Tensor& y) = 0;
  virtual void masked_add(const Tensor& delta, const Tensor& mask, float scale, Tensor& y) = 0;
  virtual void concat_channels(const Tensor& a, const Tensor& b, Tensor& y) = 0;
  virtual void upsample_nearest_2x(const Tensor& x, Tensor& y) = 0;
  virtual void embedding(const Tensor& table, const Tensor& ids, Tensor& y) = 0;
  virtual void cast(const Tensor& x, Tensor& y) = 0;
  virtual void nchw_to_nhwc(const Tensor& x, Tensor& y) = 0;
  virtual void nhwc_to_nchw(const Tensor& x, Tensor& y) = 0;
};

}  // namespace velatura::ops
