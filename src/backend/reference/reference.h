// The reference backend: every op as plain loops that follow the formula of its header in ops/. It
// is the oracle the other backends are compared with. Not here: speed beyond what a sensible order
// of loops gives, threads, vendor libraries.
#pragma once

#include <memory>

#include "ops/op_table.h"

namespace velatura::backend::reference {

/// Sums are f32, statistics of norms and softmax denominators double. A bf16 result is what f32
/// gives from the bf16 inputs, rounded once at the end: what an ideal bf16 op would return. Weights
/// may have any floating type; their f32 form is kept beside them. Thread-safe, stateless.
std::unique_ptr<ops::OpTable> make_reference_backend();

}  // namespace velatura::backend::reference
