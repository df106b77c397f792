// A tensor in the weight's place, whatever the strength (lora-formats §1.11).
#include "base/error.h"
#include "lora/algorithms/matrix.h"

namespace velatura::lora {

namespace {

class SetWeightDelta : public ModuleDelta {
 public:
  explicit SetWeightDelta(Tensor value) : value_(std::move(value)) {}
  bool is_linear() const override { return false; }
  bool needs_base() const override { return true; }
  bool replaces() const override { return true; }
  Tensor weight_change(const Pristine& base, float, std::int64_t) const override {
    const Tensor pristine = base();
    VELATURA_CHECK(pristine.shape() == value_.shape());
    Tensor change = scaled(value_, 1);
    const float* stored = pristine.data<float>();
    float* values = change.mutable_data<float>();
    for (std::int64_t i = 0; i < change.count(); ++i) values[i] -= stored[i];
    return change;
  }

 private:
  Tensor value_;
};

}  // namespace

std::unique_ptr<ModuleDelta> make_set_weight(const ModuleInput& input) {
  return std::make_unique<SetWeightDelta>(read_shaped_as_weight(input, Role::set_weight));
}

}  // namespace velatura::lora
