// What a LoraControl holds: the mailbox that sets read, and what it was told, for the account.
#pragma once

#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "lora/apply/strength_control.h"
#include "velatura/lora.h"

namespace velatura {

struct LoraControl::State {
  std::shared_ptr<lora::StrengthControl> mailbox = std::make_shared<lora::StrengthControl>();

  /// Every name that a change was ever posted for. A slider posts often, under few names.
  std::set<std::string> names() const {
    const std::scoped_lock lock(mutex);
    return posted;
  }

  mutable std::mutex mutex;
  std::set<std::string> posted;  ///< guarded by mutex
};

}  // namespace velatura
