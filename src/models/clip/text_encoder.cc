#include "models/clip/text_encoder.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/stop_token.h"
#include "ops/attention.h"
#include "ops/elementwise.h"

namespace velatura::models::clip {

namespace {

const Shape& checked_ids(const Tokens& tokens, const ClipTextConfig& config) {
  const Shape& shape = tokens.ids.shape();
  if (tokens.ids.dtype() != DType::i64 || shape.rank() != 2 || shape[1] < 1 ||
      shape[1] > config.positions) {
    fail(ErrorKind::invalid_argument, "text encoder: ids must be i64 [N, 1 … {}], found {} {}",
         config.positions, to_string(tokens.ids.dtype()), shape.to_string());
  }
  return shape;
}

/// 0, 1 … length − 1.
Tensor positions(nn::Run& run, std::int64_t length) {
  Tensor ids = run.ops.allocate({length}, DType::i64);
  for (std::int64_t i = 0; i < length; ++i) ids.mutable_data<std::int64_t>()[i] = i;
  return ids;
}

/// Writes the vectors over the rows of `embedded` f32 [N, L, width].
void inject(const InjectedVectors& injected, Tensor& embedded) {
  const std::int64_t length = embedded.size(1), width = embedded.size(2);
  const Tensor& vectors = injected.vectors;
  if (vectors.rank() != 2 || vectors.size(1) != width || vectors.dtype() != DType::f32) {
    fail(ErrorKind::mismatch,
         "text encoder: an embedding has shape {} ({}), this model's vectors are f32 [k, {}]",
         vectors.shape().to_string(), to_string(vectors.dtype()), width);
  }
  if (injected.sequence < 0 || injected.sequence >= embedded.size(0) || injected.position < 0 ||
      injected.position > length - vectors.size(0)) {
    fail(ErrorKind::invalid_argument,
         "text encoder: {} vectors at position {} of sequence {} lie outside {}", vectors.size(0),
         injected.position, injected.sequence, embedded.shape().to_string());
  }
  std::memcpy(
      embedded.mutable_data<float>() + (injected.sequence * length + injected.position) * width,
      vectors.data<float>(), vectors.byte_size());
}

}  // namespace

EncoderLayer::EncoderLayer(const ClipTextConfig& config, const nn::Scope& scope)
    : heads_(config.heads),
      activation_(config.activation),
      layer_norm1_(scope, "layer_norm1", config.width, config.norm_epsilon),
      q_proj_(scope.child("self_attn"), "q_proj", config.width, config.width),
      k_proj_(scope.child("self_attn"), "k_proj", config.width, config.width),
      v_proj_(scope.child("self_attn"), "v_proj", config.width, config.width),
      out_proj_(scope.child("self_attn"), "out_proj", config.width, config.width),
      layer_norm2_(scope, "layer_norm2", config.width, config.norm_epsilon),
      fc1_(scope.child("mlp"), "fc1", config.width, config.feed_forward_width),
      fc2_(scope.child("mlp"), "fc2", config.feed_forward_width, config.width) {}

Tensor EncoderLayer::forward(nn::Run& run, const Tensor& x) const {
  const Tensor normed = layer_norm1_.forward(run, x);
  const Tensor q = q_proj_.forward(run, normed);
  const Tensor k = k_proj_.forward(run, normed);
  const Tensor v = v_proj_.forward(run, normed);
  const Tensor mixed = ops::attention(run.ops, q, k, v, {.heads = heads_, .causal = true});
  const Tensor attended = out_proj_.forward(run, mixed, {.residual = &x});
  const Tensor expanded =
      fc1_.forward(run, layer_norm2_.forward(run, attended), {.activation = activation_});
  return fc2_.forward(run, expanded, {.residual = &attended});
}

TextEncoder::TextEncoder(const ClipTextConfig& config, const nn::Scope& scope)
    : config_(config),
      token_embedding_(scope.child("text_model").child("embeddings"), "token_embedding",
                       config.vocabulary, config.width),
      position_embedding_(scope.child("text_model").child("embeddings"), "position_embedding",
                          config.positions, config.width),
      final_layer_norm_(scope.child("text_model"), "final_layer_norm", config.width,
                        config.norm_epsilon) {
  const nn::Scope layers = scope.child("text_model").child("encoder").child("layers");
  for (int layer = 0; layer < config.layers; ++layer)
    layers_.emplace_back(config, layers.child(layer));
}

Tensor TextEncoder::embed(nn::Run& run, const Tokens& tokens) const {
  const Shape& shape = checked_ids(tokens, config_);
  // Summed in f32 and rounded once: the table's values and a textual inversion's are finer than
  // bf16.
  Tensor words = ops::cast(run.ops, token_embedding_.forward(run, tokens.ids), DType::f32);
  for (const InjectedVectors& injected : tokens.injected) inject(injected, words);
  const Tensor places =
      ops::cast(run.ops, position_embedding_.forward(run, positions(run, shape[1])), DType::f32);
  const std::int64_t row = places.count();
  for (std::int64_t i = 0; i < words.count(); ++i)
    words.mutable_data<float>()[i] += places.data<float>()[i % row];
  return ops::cast(run.ops, words, run.ops.compute());
}

Tensor TextEncoder::forward(nn::Run& run, const Tokens& tokens, int skipped_layers) const {
  if (skipped_layers < 0 || skipped_layers > config_.layers) {
    fail(ErrorKind::invalid_argument,
         "clip skip: {} layers cannot be left out of {}; the largest clip skip is {}",
         skipped_layers, config_.layers, config_.layers + 1);
  }
  Tensor x = embed(run, tokens);
  for (int layer = 0; layer < config_.layers - skipped_layers; ++layer) {
    throw_if_stopped(run.stop);
    x = layers_[static_cast<std::size_t>(layer)].forward(run, x);
  }
  return ops::cast(run.ops, final_layer_norm_.forward(run, x), DType::f32);
}

std::vector<Tensor> TextEncoder::hidden_states(nn::Run& run, const Tokens& tokens) const {
  Tensor x = embed(run, tokens);
  std::vector<Tensor> states = {ops::cast(run.ops, x, DType::f32)};
  for (const EncoderLayer& layer : layers_) {
    throw_if_stopped(run.stop);
    x = layer.forward(run, x);
    states.push_back(ops::cast(run.ops, x, DType::f32));
  }
  return states;
}

Tensor TextEncoder::pooled(const Tensor& last_hidden_state, const Tensor& ids) const {
  const std::int64_t sequences = ids.size(0), length = ids.size(1), width = config_.width;
  if (last_hidden_state.shape() != Shape{sequences, length, width}) {
    fail(ErrorKind::mismatch, "text encoder: hidden state {} does not belong to ids {}",
         last_hidden_state.shape().to_string(), ids.shape().to_string());
  }
  Tensor result = Tensor::allocate({sequences, width}, DType::f32);
  for (std::int64_t sequence = 0; sequence < sequences; ++sequence) {
    const std::int64_t* row = ids.data<std::int64_t>() + sequence * length;
    constexpr std::int64_t kMistakenEndToken = 2;
    const std::int64_t* end = config_.end_token == kMistakenEndToken
                                  ? std::max_element(row, row + length)
                                  : std::find(row, row + length, config_.end_token);
    const std::int64_t place =
        end == row + length ? 0 : end - row;  // argmax of an all-false comparison
    std::memcpy(result.mutable_data<float>() + sequence * width,
                last_hidden_state.data<float>() + (sequence * length + place) * width,
                static_cast<std::size_t>(width) * sizeof(float));
  }
  return result;
}

}  // namespace velatura::models::clip
