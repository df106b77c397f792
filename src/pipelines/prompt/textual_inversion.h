// Textual inversion: files that hold vectors to stand in a prompt for a word. Here: reading one
// file in whichever container it is. Not here: finding files by name (embedding_shelf.h), finding
// the words in a prompt (triggers.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tensor/tensor.h"
#include "weights/source.h"

namespace velatura::pipelines::prompt {

/// A value: copies share the vectors.
struct Embedding {
  std::vector<std::string>
      triggers;        ///< what stands for it in prompts, most telling first; never empty
  Tensor vectors;      ///< f32 [vectors, width], all finite
  std::string origin;  ///< the file, for messages
};

struct EmbeddingRequest {
  std::string stem;                  ///< the file's name without extension: web UIs' trigger
  std::optional<std::string> token;  ///< the user's own trigger, in place of every other
  std::int64_t width = 0;            ///< of the text encoder's token vectors
};

/// The embeddings of `source`, in file order. Containers (the spelling of a nested pickle is
/// flattened with dots):
///   "<token>": [width] or [n, width]     diffusers' learned_embeds, cloneofsimo's .ti.pt; may hold
///   several tokens "string_to_param.*": [n, width]      A1111 "emb_params": [n, width] kohya,
///   ComfyUI "clip_l" alone: [n, width]           the same in SDXL's spelling
/// Triggers are the stem, where the file holds one embedding, and the token in the file.
/// Throws mismatch, naming file and both widths, when an embedding is of another width or made for
/// more text encoders than one (SDXL's clip_g beside clip_l); unsupported when the file is no
/// embedding; bad_file for odd shapes and NaN.
std::vector<Embedding> read_embeddings(const weights::Source& source,
                                       const EmbeddingRequest& request);

}  // namespace velatura::pipelines::prompt
