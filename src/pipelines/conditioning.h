// A prompt as the denoiser takes it: text through the encoder, chunk by chunk, weights applied.
#pragma once

#include <span>
#include <string>

#include "nn/run.h"
#include "pipelines/diffusion_model.h"
#include "pipelines/prompt/chunks.h"
#include "pipelines/prompt/textual_inversion.h"

namespace velatura::pipelines {

struct TextRequest {
  std::string prompt;  ///< without adapter tags
  std::string negative;
  prompt::PromptReading reading = prompt::PromptReading::web_ui;
  int clip_skip = 1;  ///< as web UIs count
  std::span<const prompt::Embedding> embeddings{};
};

/// f32 [1, chunks · positions, width] each, both of the same length.
struct Conditioning {
  Tensor positive;
  Tensor negative;
};

/// `run` carries the text encoder's patches. Throws invalid_argument for a clip-skip beyond the
/// encoder's layers.
Conditioning encode_text(nn::Run& run, const DiffusionModel& model, const TextRequest& request);

}  // namespace velatura::pipelines
