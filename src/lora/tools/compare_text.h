// A comparison as text for people and as JSON for programs.
#pragma once

#include <string>

#include "lora/tools/compare.h"

namespace velatura::lora::tools {

/// Files, how they stand to each other, their blocks, and the layers where they pull against each
/// other; `verbose`: every layer. Names from files are shown without control characters.
std::string to_text(const Comparison& comparison, bool verbose);

/// One object: model, files, pairs, blocks, modules, remarks.
std::string to_json(const Comparison& comparison);

}  // namespace velatura::lora::tools
