// This process: where its program lies, how long it has run.
#pragma once

#include <filesystem>

namespace velatura::platform {

/// The running program's own path; empty where the system does not tell.
std::filesystem::path executable_path();

/// Seconds since the system started this process, loading of the program included; 0 where the
/// system does not tell. Resolution a hundredth of a second.
double seconds_since_start();

}  // namespace velatura::platform
