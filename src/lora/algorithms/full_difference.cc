// W += m · diff (lora-formats §1.11). Of any layer: an embedding's rows and a norm's weight, too.
#include "lora/algorithms/stored_difference.h"

namespace velatura::lora {

std::unique_ptr<ModuleDelta> make_full_difference(const ModuleInput& input) {
  return std::make_unique<StoredDifference>(read_shaped_as_weight(input, Role::diff), Tensor(),
                                            std::string());
}

}  // namespace velatura::lora
