// The adapter library with thousands of files: first scan, second start, a new file, a name.
#pragma once

#include <functional>

#include "velatura/bench.h"

namespace velatura::engine::bench {

/// Generates the files under the system's folder for temporary ones, measures, takes all away.
/// `done` is called with each part: first_scan (bytes: of all headers), second_start (bytes: of the
/// index), new_file_seen, name_lookup.
void measure_library(const BenchRequest& request,
                     const std::function<void(const BenchPart&)>& done);

}  // namespace velatura::engine::bench
