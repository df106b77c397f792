#include "velatura/bench.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "base/error.h"
#include "engine/bench/ceiling.h"
#include "engine/bench/library.h"
#include "engine/bench/lora.h"
#include "engine/bench/sd15.h"
#include "engine/device.h"

namespace velatura {

BenchReport bench(const BenchRequest& request,
                  const std::function<void(const BenchPart&)>& on_part) {
  using namespace engine::bench;
  constexpr auto kWhat = std::to_array<std::string_view>({"ceiling", "sd15", "lora", "library"});
  if (std::ranges::find(kWhat, request.what) == kWhat.end()) {
    fail(ErrorKind::invalid_argument, "bench: \"{}\" is not one of {}", request.what,
         fmt::join(kWhat, ", "));
  }
  BenchReport report;
  const auto take = [&](const BenchPart& part) {
    report.parts.push_back(part);
    if (on_part) on_part(part);
  };
  if (request.what == "library") {  // files and names alone: the ceiling says nothing of them
    measure_library(request, take);
    return report;
  }
  constexpr int kGrain = 64;  // the codec's factor times the UNet's three halvings
  if (request.size < kGrain || request.size % kGrain != 0)
    fail(ErrorKind::invalid_argument, "bench: --size {} is no multiple of {}", request.size,
         kGrain);
  const auto known = request.what == "lora" ? lora_parts() : sd15_parts();
  for (const std::string& part : request.parts) {
    if (std::ranges::find(known, part) == known.end()) {
      fail(ErrorKind::invalid_argument, "bench: --part \"{}\" is not one of {}", part,
           fmt::join(known, ", "));
    }
  }
  const engine::Device device =
      engine::make_device(request.backend, request.precision, request.threads);
  report.precision = to_string(device.compute);
  report.threads = device.threads;
  measure_ceiling(*device.table, report);
  if (request.what == "sd15") {
    measure_sd15(request, device,
                 device.compute == DType::bf16 ? report.ceiling_bf16 : report.ceiling_f32, take);
  }
  if (request.what == "lora") measure_lora(request, device, take);
  return report;
}

}  // namespace velatura
