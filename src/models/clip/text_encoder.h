// CLIP's text encoder (Radford et al. 2021), as transformers' CLIPTextModel computes it. Not here:
// prompts, weights of words, chunks of 75 tokens (pipelines/prompt).
#pragma once

#include <span>
#include <vector>

#include "models/clip/config.h"
#include "nn/embedding.h"
#include "nn/linear.h"
#include "nn/norm.h"

namespace velatura::models::clip {

/// Vectors of a textual inversion that take the place of token embeddings: row `sequence`, from
/// `position` on.
struct InjectedVectors {
  std::int64_t sequence = 0;
  std::int64_t position = 0;
  Tensor vectors;  ///< f32 [k, width]
};

/// What is encoded: ids i64 [N, L], L at most the model's positions.
struct Tokens {
  Tensor ids;
  std::span<const InjectedVectors> injected{};
};

/// One pre-norm transformer layer.
class EncoderLayer {
 public:
  EncoderLayer(const ClipTextConfig& config, const nn::Scope& scope);
  Tensor forward(nn::Run& run, const Tensor& x) const;

 private:
  int heads_;
  ops::Activation activation_;
  nn::LayerNorm layer_norm1_;
  nn::Linear q_proj_, k_proj_, v_proj_, out_proj_;
  nn::LayerNorm layer_norm2_;
  nn::Linear fc1_, fc2_;
};

/// Const: jobs share it. Layers are named as in CLIPTextModel,
/// "text_model.encoder.layers.0.self_attn.q_proj" ….
class TextEncoder {
 public:
  TextEncoder(const ClipTextConfig& config, const nn::Scope& scope);
  const ClipTextConfig& config() const { return config_; }

  /// The final norm of the hidden state before the last `skipped_layers` layers: f32 [N, L, width].
  /// Web UIs' clip-skip s is s − 1 skipped layers. More skipped layers than there are, a bad id or
  /// place is an invalid_argument.
  Tensor forward(nn::Run& run, const Tokens& tokens, int skipped_layers = 0) const;

  /// Embedding and then each layer's output, without the final norm: layers + 1 tensors f32 [N, L,
  /// width].
  std::vector<Tensor> hidden_states(nn::Run& run, const Tokens& tokens) const;

  /// Rows of `last_hidden_state` (forward's output, f32) at each sequence's end token: f32 [N,
  /// width].
  Tensor pooled(const Tensor& last_hidden_state, const Tensor& ids) const;

 private:
  Tensor embed(nn::Run& run, const Tokens& tokens) const;

  ClipTextConfig config_;
  nn::Embedding token_embedding_, position_embedding_;
  std::vector<EncoderLayer> layers_;
  nn::LayerNorm final_layer_norm_;
};

}  // namespace velatura::models::clip
