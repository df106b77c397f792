// This process: where its program lies.
#pragma once

#include <filesystem>

namespace velatura::platform {

/// The running program's own path; empty where the system does not tell.
std::filesystem::path executable_path();

}  // namespace velatura::platform
