// The flags of every command that runs an engine.
#pragma once

#include <CLI/CLI.hpp>

#include "velatura/engine.h"

namespace velatura::cli {

/// `options` must live until the command has run.
void add_engine_flags(CLI::App& command, EngineOptions& options);

}  // namespace velatura::cli
