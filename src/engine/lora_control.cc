#include "engine/lora_control.h"

namespace velatura {

LoraControl::LoraControl() : state_(std::make_unique<State>()) {}
LoraControl::~LoraControl() = default;

void LoraControl::set(const std::string& name, double weight, std::optional<double> text_weight) {
  lora::StrengthChange change{.denoiser = static_cast<float>(weight)};
  if (text_weight) change.text = change.te2 = change.t5 = static_cast<float>(*text_weight);
  state_->mailbox->post(name, change);
  const std::scoped_lock lock(state_->mutex);
  state_->posted.insert(name);
}

}  // namespace velatura
