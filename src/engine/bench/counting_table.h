// A backend that counts the multiplications and additions of what it passes on.
#pragma once

#include "ops/context.h"
#include "ops/kronecker.h"
#include "ops/low_rank.h"
#include "ops/op_table.h"

namespace velatura::engine::bench {

/// Two operations for each product of matrix products, direct convolutions, attention and adapters;
/// what lies between is not counted.
class CountingTable : public ops::OpTable {
 public:
  explicit CountingTable(ops::OpTable& inner) : inner_(inner) {}
  double flops() const { return flops_; }

  std::string_view name() const override { return inner_.name(); }
  void linear(const Tensor& x, const ops::Weight& weight, const Tensor& bias,
              const ops::Epilogue& epilogue, Tensor& y) override {
    flops_ += 2.0 * static_cast<double>(y.count()) * static_cast<double>(weight.shape()[1]);
    inner_.linear(x, weight, bias, epilogue, y);
  }
  void conv2d(const Tensor& x, const ops::Weight& weight, const Tensor& bias,
              const ops::ConvGeometry& geometry, const ops::Epilogue& epilogue,
              Tensor& y) override {
    flops_ += 2.0 * static_cast<double>(y.count()) *
              static_cast<double>(weight.shape().count() / weight.shape()[0]);
    inner_.conv2d(x, weight, bias, geometry, epilogue, y);
  }
  void low_rank_update(const Tensor& x, const ops::Weight& down, const Tensor& scales,
                       const ops::Weight& up, const ops::ConvGeometry* geometry, Tensor& y,
                       ops::Context& context) override {
    const double rows = static_cast<double>(y.count() / y.size(-1));
    flops_ += 2.0 * rows * static_cast<double>(down.shape().count() + up.shape().count());
    inner_.low_rank_update(x, down, scales, up, geometry, y, context);
  }
  bool linear_low_rank(const Tensor& x, const ops::Weight& weight, const Tensor& bias,
                       const ops::LowRank& low_rank, const ops::Epilogue& epilogue,
                       Tensor& y) override {
    if (!inner_.linear_low_rank(x, weight, bias, low_rank, epilogue, y)) return false;
    const double rows = static_cast<double>(y.count() / y.size(-1));
    flops_ += 2.0 * rows *
              static_cast<double>(weight.shape().count() + low_rank.down.shape().count() +
                                  low_rank.up.shape().count());
    return true;
  }
  void kronecker_update(const Tensor& x, const ops::Weight& w1, const ops::Weight& w2,
                        const Tensor& scale, const ops::ConvGeometry* geometry,
                        Tensor& y) override {
    const double rows = static_cast<double>(y.count() / y.size(-1));
    flops_ += 2.0 * rows * static_cast<double>(ops::KroneckerShape::of(w1, w2).multiplications());
    inner_.kronecker_update(x, w1, w2, scale, geometry, y);
  }
  void attention(const Tensor& q, const Tensor& k, const Tensor& v, const ops::AttentionArgs& args,
                 Tensor& y) override {
    flops_ += 4.0 * static_cast<double>(q.count()) * static_cast<double>(k.size(1));
    inner_.attention(q, k, v, args, y);
  }
  void group_norm(const Tensor& x, const ops::GroupNormArgs& args, Tensor& y) override {
    inner_.group_norm(x, args, y);
  }
  void layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, float epsilon,
                  Tensor& y) override {
    inner_.layer_norm(x, gamma, beta, epsilon, y);
  }
  void activation(const Tensor& x, ops::Activation kind, Tensor& y) override {
    inner_.activation(x, kind, y);
  }
  void geglu(const Tensor& x, Tensor& y) override { inner_.geglu(x, y); }
  void scaled_add(const Tensor& a, const Tensor& b, float scale, Tensor& y) override {
    inner_.scaled_add(a, b, scale, y);
  }
  void masked_add(const Tensor& delta, const Tensor& mask, float scale, Tensor& y) override {
    inner_.masked_add(delta, mask, scale, y);
  }
  void concat_channels(const Tensor& a, const Tensor& b, Tensor& y) override {
    inner_.concat_channels(a, b, y);
  }
  void upsample_nearest_2x(const Tensor& x, Tensor& y) override {
    inner_.upsample_nearest_2x(x, y);
  }
  void embedding(const Tensor& table, const Tensor& ids, Tensor& y) override {
    inner_.embedding(table, ids, y);
  }
  void cast(const Tensor& x, Tensor& y) override { inner_.cast(x, y); }
  void nchw_to_nhwc(const Tensor& x, Tensor& y) override { inner_.nchw_to_nhwc(x, y); }
  void nhwc_to_nchw(const Tensor& x, Tensor& y) override { inner_.nhwc_to_nchw(x, y); }

 private:
  ops::OpTable& inner_;
  double flops_ = 0;
};

}  // namespace velatura::engine::bench
