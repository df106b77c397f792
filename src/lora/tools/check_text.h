// An account as text for people and as JSON for programs.
#pragma once

#include <string>

#include "lora/tools/check.h"

namespace velatura::lora::tools {

/// `verbose`: every module and every tensor; else groups of them, and what is not plainly bound.
/// Names from the file are shown without control characters.
std::string to_text(const Account& account, bool verbose);

/// One object, as LoraCheck::json describes it.
std::string to_json(const Account& account);

/// "LoRA rank 16 x144, LoKr full x3": kinds of used modules, the most frequent first.
std::vector<std::string> kinds_of(const Account& account);

}  // namespace velatura::lora::tools
