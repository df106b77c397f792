// What prompt weights do to a text encoder's output.
#pragma once

#include <span>

#include "pipelines/prompt/chunks.h"
#include "tensor/tensor.h"

namespace velatura::pipelines::prompt {

/// Multiplies each position of `hidden` (f32 [chunks, context_length, width], after the final norm)
/// by its weight, then scales each chunk back to its mean before: EmphasisOriginal of A1111's
/// modules/sd_emphasis.py, chunk by chunk. A chunk whose weights are all 1 stays bit for bit; one
/// whose new mean is 0 is not scaled back. Throws mismatch when shapes and chunks differ.
void apply_emphasis(Tensor& hidden, std::span<const Chunk> chunks);

}  // namespace velatura::pipelines::prompt
