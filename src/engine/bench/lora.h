// What adapters cost on SD1.5 at full size: kinds beside the plain step, switching, strengths,
// pictures with sets of their own; and an SDXL-size file until it is bound.
#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "engine/device.h"
#include "velatura/bench.h"

namespace velatura::engine::bench {

/// Names of the parts, in the order they run.
std::span<const std::string_view> lora_parts();

/// Measures the parts that `request` asks for; `done` is called with each.
void measure_lora(const BenchRequest& request, const Device& device,
                  const std::function<void(const BenchPart&)>& done);

}  // namespace velatura::engine::bench
