// The shape of a CLIP text encoder. Not here: the tokenizer (tokenizers/clip_bpe), names of tensors
// in files (names.h).
#pragma once

#include <cstdint>
#include <string_view>

#include "ops/activation.h"

namespace velatura::models::clip {

/// The defaults are CLIP ViT-L/14's, SD 1.5's text encoder.
struct ClipTextConfig {
  int vocabulary = 49408;
  int positions = 77;  ///< longest sequence of tokens
  int width = 768;
  int feed_forward_width = 3072;
  int layers = 12;
  int heads = 12;
  ops::Activation activation = ops::Activation::quick_gelu;
  float norm_epsilon = 1e-5f;
  /// The token whose place gives the pooled output; 2, which old configurations have by mistake,
  /// stands for the largest id of the sequence (transformers' CLIPTextTransformer).
  std::int64_t end_token = 49407;

  /// Reads transformers' config.json of a CLIPTextModel.
  /// Throws bad_file and unsupported.
  static ClipTextConfig from_json(std::string_view text);
  bool operator==(const ClipTextConfig&) const = default;
};

}  // namespace velatura::models::clip
