#include "backend/cpu/cpu.h"

#include "backend/cpu/attention.h"
#include "backend/cpu/kernels/kernels.h"
#include "backend/cpu/layout.h"
#include "backend/cpu/ops.h"
#include "backend/cpu/parallel.h"

namespace velatura::backend::cpu {

namespace {

/// Every op runs with the backend's number of threads, whichever thread of the program calls it.
class CpuTable final : public ops::OpTable {
 public:
  explicit CpuTable(const CpuOptions& options) : threads_(options.threads) {}

  std::string_view name() const override { return "cpu"; }
  void linear(const Tensor& x, const Weight& weight, const Tensor& bias, const Epilogue& epilogue,
              Tensor& y) override {
    const ThreadScope scope(threads_);
    cpu::linear(x, weight, bias, epilogue, y);
  }
  void conv2d(const Tensor& x, const Weight& weight, const Tensor& bias,
              const ConvGeometry& geometry, const Epilogue& epilogue, Tensor& y) override {
    const ThreadScope scope(threads_);
    cpu::conv2d(x, weight, bias, geometry, epilogue, y);
  }
  void low_rank_update(const Tensor& x, const Weight& down, const Tensor& scales, const Weight& up,
                       const ConvGeometry* geometry, Tensor& y, ops::Context& context) override {
    const ThreadScope scope(threads_);
    cpu::low_rank_update(x, down, scales, up, geometry, y, context);
  }
  bool linear_low_rank(const Tensor& x, const Weight& weight, const Tensor& bias,
                       const ops::LowRank& low_rank, const Epilogue& epilogue, Tensor& y) override {
    const ThreadScope scope(threads_);
    return cpu::linear_low_rank(x, weight, bias, low_rank, epilogue, y);
  }
  void kronecker_update(const Tensor& x, const Weight& w1, const Weight& w2, const Tensor& scale,
                        const ConvGeometry* geometry, Tensor& y) override {
    const ThreadScope scope(threads_);
    cpu::kronecker_update(x, w1, w2, scale, geometry, y);
  }
  void group_norm(const Tensor& x, const ops::GroupNormArgs& args, Tensor& y) override {
    const ThreadScope scope(threads_);
    cpu::group_norm(x, args, y);
  }
  void layer_norm(const Tensor& x, const Tensor& gamma, const Tensor& beta, float epsilon,
                  Tensor& y) override {
    const ThreadScope scope(threads_);
    cpu::layer_norm(x, gamma, beta, epsilon, y);
  }
  void attention(const Tensor& q, const Tensor& k, const Tensor& v, const ops::AttentionArgs& args,
                 Tensor& y) override {
    const ThreadScope scope(threads_);
    cpu_attention(q, k, v, args, y);
  }
  void activation(const Tensor& x, Activation kind, Tensor& y) override {
    const ThreadScope scope(threads_);
    cpu::activation(x, kind, y);
  }
  void geglu(const Tensor& x, Tensor& y) override {
    const ThreadScope scope(threads_);
    cpu::geglu(x, y);
  }
  void scaled_add(const Tensor& a, const Tensor& b, float scale, Tensor& y) override {
    const ThreadScope scope(threads_);
    cpu::scaled_add(a, b, scale, y);
  }
  void masked_add(const Tensor& delta, const Tensor& mask, float scale, Tensor& y) override {
    const ThreadScope scope(threads_);
    cpu::masked_add(delta, mask, scale, y);
  }
  void concat_channels(const Tensor& a, const Tensor& b, Tensor& y) override {
    const ThreadScope scope(threads_);
    cpu::concat_channels(a, b, y);
  }
  void upsample_nearest_2x(const Tensor& x, Tensor& y) override {
    const ThreadScope scope(threads_);
    cpu::upsample_nearest_2x(x, y);
  }
  void embedding(const Tensor& table, const Tensor& ids, Tensor& y) override {
    const ThreadScope scope(threads_);
    cpu::embedding(table, ids, y);
  }
  void cast(const Tensor& x, Tensor& y) override {
    const ThreadScope scope(threads_);
    cpu::cast(x, y);
  }
  void nchw_to_nhwc(const Tensor& x, Tensor& y) override {
    const ThreadScope scope(threads_);
    cpu::nchw_to_nhwc(x, y);
  }
  void nhwc_to_nchw(const Tensor& x, Tensor& y) override {
    const ThreadScope scope(threads_);
    cpu::nhwc_to_nchw(x, y);
  }

 private:
  int threads_;
};

}  // namespace

std::unique_ptr<ops::OpTable> make_cpu_backend(const CpuOptions& options) {
  return std::make_unique<CpuTable>(options);
}

CpuFeatures cpu_features() {
#if defined(__x86_64__)
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return {.avx512 = avx512, .avx512_bf16 = avx512 && __builtin_cpu_supports("avx512bf16")};
#else
  return {};
#endif
}

}  // namespace velatura::backend::cpu
