// b += m · diff_b, beside whatever changes the weight (lora-formats §1.11).
#include "lora/algorithms/stored_difference.h"

namespace velatura::lora {

std::unique_ptr<ModuleDelta> make_bias_difference(const ModuleInput& input) {
  Tensor bias = read_shaped_as_bias(input, Role::diff_b);
  if (!input.has_bias)
    return std::make_unique<StoredDifference>(Tensor(), Tensor(), std::string(kNoBias));
  return std::make_unique<StoredDifference>(Tensor(), std::move(bias), std::string());
}

}  // namespace velatura::lora
