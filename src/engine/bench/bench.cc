#include "velatura/bench.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.h"
#include "engine/bench/ceiling.h"
#include "engine/bench/sd15.h"
#include "engine/device.h"

namespace velatura {

BenchReport bench(const BenchRequest& request,
                  const std::function<void(const BenchPart&)>& on_part) {
  using namespace engine::bench;
  if (request.what != "ceiling" && request.what != "sd15") {
    fail(ErrorKind::invalid_argument, "bench: \"{}\" is not one of ceiling, sd15", request.what);
  }
  constexpr int kGrain = 64;  // the codec's factor times the UNet's three halvings
  if (request.size < kGrain || request.size % kGrain != 0)
    fail(ErrorKind::invalid_argument, "bench: --size {} is no multiple of {}", request.size,
         kGrain);
  for (const std::string& part : request.parts) {
    if (std::ranges::find(sd15_parts(), part) == sd15_parts().end()) {
      fail(ErrorKind::invalid_argument, "bench: --part \"{}\" is not one of {}", part,
           fmt::join(sd15_parts(), ", "));
    }
  }
  const engine::Device device =
      engine::make_device(request.backend, request.precision, request.threads);
  BenchReport report;
  report.precision = to_string(device.compute);
  report.threads = device.threads;
  measure_ceiling(*device.table, report);
  if (request.what == "sd15") {
    measure_sd15(request, device,
                 device.compute == DType::bf16 ? report.ceiling_bf16 : report.ceiling_f32,
                 [&](const BenchPart& part) {
                   report.parts.push_back(part);
                   if (on_part) on_part(part);
                 });
  }
  return report;
}

}  // namespace velatura
