#include "lora/apply/strength_control.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace velatura::lora {

void StrengthControl::post(const std::string& adapter, const StrengthChange& change) {
  for (const std::optional<float>& strength :
       {change.denoiser, change.text, change.te2, change.t5}) {
    if (strength && !std::isfinite(*strength)) {
      fail(ErrorKind::invalid_argument, "the new strength of \"{}\" is not a finite number",
           adapter);
    }
  }
  const std::scoped_lock lock(mutex_);
  Latest& latest = latest_[adapter];
  latest.number = ++posted_;
  if (change.denoiser) latest.change.denoiser = change.denoiser;
  if (change.text) latest.change.text = change.text;
  if (change.te2) latest.change.te2 = change.te2;
  if (change.t5) latest.change.t5 = change.t5;
}

std::vector<StrengthControl::Posted> StrengthControl::since(std::uint64_t& seen) const {
  std::vector<std::pair<std::uint64_t, Posted>> fresh;
  {
    const std::scoped_lock lock(mutex_);
    for (const auto& [adapter, latest] : latest_) {
      if (latest.number > seen) fresh.emplace_back(latest.number, Posted{adapter, latest.change});
    }
    seen = posted_;
  }
  std::ranges::sort(fresh, {}, &std::pair<std::uint64_t, Posted>::first);
  std::vector<Posted> posted;
  for (auto& [number, one] : fresh) posted.push_back(std::move(one));
  return posted;
}

}  // namespace velatura::lora
