// A tensor in the weight's or the bias's place, whatever the strength (lora-formats §1.11, §2.0).
#include "base/error.h"
#include "lora/algorithms/stored_difference.h"

namespace velatura::lora {

namespace {

/// value − base.
Tensor change_to(const Tensor& value, const Tensor& base) {
  VELATURA_CHECK(base.shape() == value.shape());
  Tensor change = scaled(value, 1);
  const float* stored = base.data<float>();
  float* values = change.mutable_data<float>();
  for (std::int64_t i = 0; i < change.count(); ++i) values[i] -= stored[i];
  return change;
}

class SetWeightDelta : public ModuleDelta {
 public:
  explicit SetWeightDelta(Tensor value) : value_(std::move(value)) {}
  bool is_linear() const override { return false; }
  bool needs_base() const override { return true; }
  bool replaces() const override { return true; }
  Tensor weight_change(const Pristine& base, float, std::int64_t) const override {
    return change_to(value_, base());
  }

 private:
  Tensor value_;
};

class SetBiasDelta : public ModuleDelta {
 public:
  explicit SetBiasDelta(Tensor value) : value_(std::move(value)) {}
  bool is_linear() const override { return false; }
  bool changes_weight() const override { return false; }
  bool replaces_bias() const override { return true; }
  Tensor weight_change(const Pristine&, float, std::int64_t) const override { return {}; }
  Tensor bias_change(const Pristine& bias, float) const override {
    return change_to(value_, bias());
  }

 private:
  Tensor value_;  ///< f32 [out]
};

}  // namespace

std::unique_ptr<ModuleDelta> make_set_weight(const ModuleInput& input) {
  return std::make_unique<SetWeightDelta>(read_shaped_as_weight(input, Role::set_weight));
}

std::unique_ptr<ModuleDelta> make_set_bias(const ModuleInput& input) {
  if (!input.has_bias)
    return std::make_unique<StoredDifference>(Tensor(), Tensor(), std::string(kNoBias));
  return std::make_unique<SetBiasDelta>(read_shaped_as_bias(input, Role::set_bias));
}

}  // namespace velatura::lora
