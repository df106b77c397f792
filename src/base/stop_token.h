// Cancelling a job: the holder of a StopSource asks, the job looks. A thin name over the
// standard's.
#pragma once

#include <stop_token>

#include "base/error.h"

namespace velatura {

using StopSource = std::stop_source;
using StopToken = std::stop_token;

/// Throws `cancelled` when a stop was asked for. Called between steps and inside long loops.
inline void throw_if_stopped(const StopToken& token) {
  if (token.stop_requested()) throw Error(ErrorKind::cancelled, "stopped on request");
}

}  // namespace velatura
