#include "backend/reference/reference.h"

#include "backend/reference/kernels.h"

namespace velatura::backend::reference {

namespace {

class ReferenceBackend final : public ops::OpTable {
 public:
  std::string_view name() const override { return "reference"; }

  void linear(const Tensor& x, const Weight& weight, const Tensor& bias, const Epilogue& epilogue,
              Tensor& y) override {
    reference::linear(x, weight, bias, epilogue, y);
  }
  void conv2d(const Tensor& x, const Weight& weight, const Tensor& bias,
              const ConvGeometry& geometry, const Epilogue& epilogue, Tensor& y) override {
    reference::conv2d(x, weight, bias, geometry, epilogue, y);
  }
  void low_rank_update(const Tensor& x, const Weight& down, const Tensor& scales, const Weight& up,
                       const ConvGeometry* geometry, Tensor& y, ops::Context&) override {
    reference::low_rank_update(x, down, scales, up, geometry, y);
  }
  void kronecker_update(const Tensor& x, const Weight& w1, const Weight& w2, const Tensor& scale,
                        const ConvGeometry* geometry, Tensor& y) override {
    reference::kronecker_update(x, w1, w2, scale, geometry, y);
  }
  void group_norm(const Tensor& x, const ops::GroupNormArgs& args, Tensor& y) override {
    reference::group_norm(x, args, y);
  }
  void layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, float epsilon,
                  Tensor& y) override {
    reference::layer_norm(x, gamma, beta, epsilon, y);
  }
  void attention(const Tensor& q, const Tensor& k, const Tensor& v, const ops::AttentionArgs& args,
                 Tensor& y) override {
    reference::attention(q, k, v, args, y);
  }
  void activation(const Tensor& x, Activation kind, Tensor& y) override {
    reference::activation(x, kind, y);
  }
  void geglu(const Tensor& x, Tensor& y) override { reference::geglu(x, y); }
  void scaled_add(const Tensor& a, const Tensor& b, float scale, Tensor& y) override {
    reference::scaled_add(a, b, scale, y);
  }
  void masked_add(const Tensor& delta, const Tensor& mask, float scale, Tensor& y) override {
    reference::masked_add(delta, mask, scale, y);
  }
  void concat_channels(const Tensor& a, const Tensor& b, Tensor& y) override {
    reference::concat_channels(a, b, y);
  }
  void upsample_nearest_2x(const Tensor& x, Tensor& y) override {
    reference::upsample_nearest_2x(x, y);
  }
  void embedding(const Tensor& table, const Tensor& ids, Tensor& y) override {
    reference::embedding(table, ids, y);
  }
  void cast(const Tensor& x, Tensor& y) override { reference::cast(x, y); }
  void nchw_to_nhwc(const Tensor& x, Tensor& y) override { reference::nchw_to_nhwc(x, y); }
  void nhwc_to_nchw(const Tensor& x, Tensor& y) override { reference::nhwc_to_nchw(x, y); }
};

}  // namespace

std::unique_ptr<ops::OpTable> make_reference_backend() {
  return std::make_unique<ReferenceBackend>();
}

}  // namespace velatura::backend::reference
