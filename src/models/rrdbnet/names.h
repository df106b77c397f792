// How files spell RRDBNet's tensors. Canonical names are Real-ESRGAN's current ones
// ("body.0.rdb1.conv1.weight").
#pragma once

#include "weights/name_map.h"
#include "weights/source.h"

namespace velatura::models::rrdbnet {

/// Rows for what `source` holds: canonical names, bare or under "params_ema." or "params." (the
/// averaged weights of a training checkpoint come first, as in Real-ESRGAN's own loader).
weights::NameMap names(const weights::Source& source);

}  // namespace velatura::models::rrdbnet
