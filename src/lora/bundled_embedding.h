// Which tensor of an embedding that an adapter file brings along is for which text encoder
// (lora-formats §1.16). Not here: taking them from the file (adapter_file.h).
#pragma once

#include <string>

#include "lora/adapter_file.h"
#include "weights/part.h"

namespace velatura::lora {

/// The name of the tensor with the vectors that `part` reads, or null where the embedding has none
/// for it. Keys that name no encoder ("string_to_param.*", "emb_params", a lone vector) are for the
/// first one. OneTrainer's "clip_l_out" and the like are for an encoder's output, which no prompt
/// reaches.
const std::string* vectors_for(const BundledEmbedding& embedding, weights::Part part);

}  // namespace velatura::lora
