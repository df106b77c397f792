// Weight and bias of a norm, each there or not (lora-formats §1.11).
#include "lora/algorithms/stored_difference.h"

namespace velatura::lora {

std::unique_ptr<ModuleDelta> make_norm_difference(const ModuleInput& input) {
  Tensor weight, bias;
  std::string remark;
  if (has(input, Role::norm_w)) weight = read_shaped_as_weight(input, Role::norm_w);
  if (has(input, Role::norm_b)) {
    bias = read_shaped_as_bias(input, Role::norm_b);
    if (!input.has_bias) bias = Tensor(), remark = kNoBias;
  }
  return std::make_unique<StoredDifference>(std::move(weight), std::move(bias), std::move(remark));
}

}  // namespace velatura::lora
