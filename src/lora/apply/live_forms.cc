#include "lora/apply/live_forms.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "nn/run.h"
#include "ops/elementwise.h"
#include "ops/kronecker.h"
#include "ops/low_rank.h"

namespace velatura::lora {

namespace {

class ThinForm : public LiveForm {
 public:
  ThinForm(const nn::LayerInfo& layer, std::shared_ptr<const LayerStack> stack,
           std::vector<std::size_t> members)
      : stack_(std::move(stack)),
        members_(std::move(members)),
        geometry_(layer.geometry),
        is_convolution_(layer.kind == nn::LayerKind::conv2d),
        scales_(Tensor::allocate({stack_->rank()}, DType::f32)) {}

  void set_strengths(std::span<const float> strengths) override {
    float* scales = scales_.mutable_data<float>();
    for (std::size_t part = 0; part < members_.size(); ++part) {
      const StackPart& of = stack_->parts()[part];
      scales = std::fill_n(scales, of.ranks, strengths[members_[part]] * of.delta->thin()->scale);
    }
  }
  void add_to(nn::Run& run, const Tensor& x, Tensor& y) const override {
    if (is_convolution_) {
      ops::low_rank_conv_update(run.ops, x, stack_->down(), scales_, stack_->up(), geometry_, y);
    } else {
      ops::low_rank_update(run.ops, x, stack_->down(), scales_, stack_->up(), y);
    }
  }
  std::optional<ops::LowRank> low_rank() const override {
    if (is_convolution_) return std::nullopt;
    return ops::LowRank{.down = stack_->down(), .scales = scales_, .up = stack_->up()};
  }
  std::size_t bytes() const override { return stack_->bytes(); }

 private:
  std::shared_ptr<const LayerStack> stack_;
  std::vector<std::size_t> members_;
  ops::ConvGeometry geometry_;
  bool is_convolution_;
  Tensor scales_;
};

class KroneckerForm : public LiveForm {
 public:
  KroneckerForm(const nn::LayerInfo& layer, LiveMember member)
      : member_(std::move(member)),
        geometry_(layer.geometry),
        is_convolution_(member_.delta->kronecker()->w2->shape().rank() == 4),
        scale_(Tensor::allocate({1}, DType::f32)) {}
  void set_strengths(std::span<const float> strengths) override {
    *scale_.mutable_data<float>() = strengths[member_.member] * member_.delta->kronecker()->scale;
  }
  void add_to(nn::Run& run, const Tensor& x, Tensor& y) const override {
    const KroneckerFactors& factors = *member_.delta->kronecker();
    if (is_convolution_) {
      ops::kronecker_conv_update(run.ops, x, *factors.w1, *factors.w2, scale_, geometry_, y);
    } else {
      ops::kronecker_update(run.ops, x, *factors.w1, *factors.w2, scale_, y);
    }
  }

 private:
  LiveMember member_;
  ops::ConvGeometry geometry_;
  bool is_convolution_;
  Tensor scale_;
};

class TuckerForm : public LiveForm {
 public:
  TuckerForm(const nn::LayerInfo& layer, LiveMember member)
      : member_(std::move(member)),
        geometry_(layer.geometry),
        scales_(Tensor::allocate({member_.delta->tucker()->mid->shape()[0]}, DType::f32)) {}
  void set_strengths(std::span<const float> strengths) override {
    std::ranges::fill(scales_.mutable_floats(),
                      strengths[member_.member] * member_.delta->tucker()->scale);
  }
  void add_to(nn::Run& run, const Tensor& x, Tensor& y) const override {
    const TuckerFactors& factors = *member_.delta->tucker();
    const Tensor inner = ops::conv2d(run.ops, x, *factors.down, {}, ops::ConvGeometry::same(1));
    ops::low_rank_conv_update(run.ops, inner, *factors.mid, scales_, *factors.up, geometry_, y);
  }

 private:
  LiveMember member_;
  ops::ConvGeometry geometry_;
  Tensor scales_;
};

class ProductForm : public LiveForm {
 public:
  ProductForm(const nn::LayerInfo& layer, std::shared_ptr<ChangedWeight> change)
      : change_(std::move(change)),
        geometry_(layer.geometry),
        is_convolution_(layer.kind == nn::LayerKind::conv2d) {}
  void set_strengths(std::span<const float> strengths) override {
    change_->set_strengths(strengths);
  }
  void add_to(nn::Run& run, const Tensor& x, Tensor& y) const override {
    const auto weight = change_->weight();
    const Tensor change = is_convolution_ ? ops::conv2d(run.ops, x, *weight, {}, geometry_)
                                          : ops::linear(run.ops, x, *weight, {});
    ops::add_scaled(run.ops, change, 1, y);
  }
  std::size_t bytes() const override { return change_->bytes(); }

 private:
  std::shared_ptr<ChangedWeight> change_;
  ops::ConvGeometry geometry_;
  bool is_convolution_;
};

class BiasForm : public LiveForm {
 public:
  BiasForm(std::vector<LiveMember> members, std::shared_ptr<const BaseWeights> base)
      : members_(std::move(members)), base_(std::move(base)) {}
  void set_strengths(std::span<const float> strengths) override {
    bias_ = sum_of_biases(members_, strengths, *base_);
  }
  void add_to(nn::Run& run, const Tensor&, Tensor& y) const override {
    const Tensor row = ops::cast(run.ops, bias_, y.dtype());
    Tensor rows = run.ops.allocate(y.shape(), y.dtype());
    for (std::size_t at = 0; at < rows.byte_size(); at += row.byte_size())
      std::memcpy(rows.mutable_bytes() + at, row.bytes(), row.byte_size());
    ops::add_scaled(run.ops, rows, 1, y);
  }
  std::size_t bytes() const override { return bias_.byte_size(); }

 private:
  std::vector<LiveMember> members_;
  std::shared_ptr<const BaseWeights> base_;
  Tensor bias_;
};

class MaskedForm : public LiveForm {
 public:
  MaskedForm(std::shared_ptr<const Region> region, std::vector<std::shared_ptr<LiveForm>> inner)
      : region_(std::move(region)), inner_(std::move(inner)) {}
  void set_strengths(std::span<const float> strengths) override {
    for (const auto& form : inner_) form->set_strengths(strengths);
  }
  void add_to(nn::Run& run, const Tensor& x, Tensor& y) const override {
    Tensor change = ops::zeros(run.ops, y.shape());
    for (const auto& form : inner_) form->add_to(run, x, change);
    ops::masked_add(run.ops, change, region_->at(y.shape()), 1, y);
  }
  std::size_t bytes() const override {
    std::size_t bytes = 0;
    for (const auto& form : inner_) bytes += form->bytes();
    return bytes;
  }

 private:
  std::shared_ptr<const Region> region_;
  std::vector<std::shared_ptr<LiveForm>> inner_;
};

}  // namespace

std::shared_ptr<LiveForm> make_thin_form(const nn::LayerInfo& layer,
                                         std::shared_ptr<const LayerStack> stack,
                                         std::vector<std::size_t> members) {
  return std::make_shared<ThinForm>(layer, std::move(stack), std::move(members));
}

std::shared_ptr<LiveForm> make_kronecker_form(const nn::LayerInfo& layer, LiveMember member) {
  return std::make_shared<KroneckerForm>(layer, std::move(member));
}

std::shared_ptr<LiveForm> make_tucker_form(const nn::LayerInfo& layer, LiveMember member) {
  return std::make_shared<TuckerForm>(layer, std::move(member));
}

std::shared_ptr<LiveForm> make_product_form(const nn::LayerInfo& layer,
                                            std::shared_ptr<ChangedWeight> change) {
  return std::make_shared<ProductForm>(layer, std::move(change));
}

std::shared_ptr<LiveForm> make_bias_form(std::vector<LiveMember> members,
                                         std::shared_ptr<const BaseWeights> base) {
  return std::make_shared<BiasForm>(std::move(members), std::move(base));
}

std::shared_ptr<LiveForm> make_masked_form(std::shared_ptr<const Region> region,
                                           std::vector<std::shared_ptr<LiveForm>> inner) {
  return std::make_shared<MaskedForm>(std::move(region), std::move(inner));
}

Tensor sum_of_biases(std::span<const LiveMember> members, std::span<const float> strengths,
                     const BaseWeights& base) {
  Tensor total;
  for (const LiveMember& member : members) {
    const Tensor change = member.delta->bias_change(
        [&] { return base.whole_bias(*member.placement); }, strengths[member.member]);
    if (!change.defined()) continue;
    if (!total.defined()) {
      total = change.clone();
      continue;
    }
    VELATURA_CHECK(change.count() == total.count());
    for (std::size_t i = 0; i < total.floats().size(); ++i)
      total.mutable_floats()[i] += change.floats()[i];
  }
  return total;
}

}  // namespace velatura::lora
