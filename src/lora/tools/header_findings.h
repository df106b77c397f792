// What a header says of an adapter against what its tensors say (lora-formats §3.5, §4.7, §5.6).
#pragma once

#include <vector>

#include "lora/tools/findings.h"

namespace velatura::lora::tools {

void find_header_oddities(const FindingsInput& input, std::vector<Finding>& findings);

}  // namespace velatura::lora::tools
