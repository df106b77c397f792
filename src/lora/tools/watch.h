// How the owner of a piece of work that takes seconds follows it and ends it.
#pragma once

#include <cstddef>
#include <functional>

#include "base/stop_token.h"

namespace velatura::lora::tools {

struct Watch {
  StopToken stop{};  ///< looked at before every module; the work then throws cancelled
  /// Modules done, of how many. From the thread that called; may be empty.
  std::function<void(std::size_t done, std::size_t total)> on_progress{};

  void report(std::size_t done, std::size_t total) const {
    if (on_progress) on_progress(done, total);
  }
};

}  // namespace velatura::lora::tools
