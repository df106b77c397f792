// The parts of SD1.5 at full size: one step under guidance, the codec, the text encoder, adapters,
// and a whole child program.
#pragma once

#include <functional>
#include <span>
#include <string_view>

#include "engine/device.h"
#include "velatura/bench.h"

namespace velatura::engine::bench {

/// Names of the parts, in the order they run.
std::span<const std::string_view> sd15_parts();

/// Measures the parts that `request` asks for; `done` is called with each.
void measure_sd15(const BenchRequest& request, const Device& device, double ceiling,
                  const std::function<void(const BenchPart&)>& done);

}  // namespace velatura::engine::bench
