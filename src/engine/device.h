// The device of a process: which backend, which compute type, how many threads. The only place that
// names backends.
#pragma once

#include <memory>
#include <string>

#include "ops/op_table.h"

namespace velatura::engine {

struct Device {
  std::unique_ptr<ops::OpTable> table;
  DType compute = DType::f32;
  int threads = 1;
};

/// `backend` cpu or reference; `precision` auto, f32 or bf16 (auto: bf16 where the CPU computes it
/// faster, f32 on the reference); `threads` 0: all cores. Throws invalid_argument / unsupported
/// naming what was asked and what exists.
Device make_device(const std::string& backend, const std::string& precision, int threads);

}  // namespace velatura::engine
