#include "ops/weight.h"

namespace velatura::ops {

std::shared_ptr<const void> Weight::form(
    const std::string& key, const std::function<std::shared_ptr<const void>()>& make) const {
  const std::scoped_lock lock(mutex_);
  std::shared_ptr<const void>& slot = forms_[key];
  if (!slot) {
    slot = make();
    if (release_) release_();
  }
  return slot;
}

}  // namespace velatura::ops
