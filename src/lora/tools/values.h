// One look at every value of an adapter file: what is not finite, zero, or too small for its type.
#pragma once

#include <cstdint>
#include <vector>

#include "base/stop_token.h"
#include "weights/source.h"

namespace velatura::lora::tools {

struct TensorValues {
  std::int64_t count = 0;
  std::int64_t not_finite = 0;
  std::int64_t zeros = 0;
  std::int64_t subnormal = 0;  ///< numbers below the type's smallest normal one; f16 alone
};

/// Of every floating tensor of 8 bits upwards, in the source's order; of the others no value
/// counts. Reads each once, in parallel, in place where the file is mapped; its pages are let go
/// afterwards. Throws as Source::load; cancelled.
std::vector<TensorValues> scan_values(const weights::Source& source, const StopToken& stop = {});

}  // namespace velatura::lora::tools
