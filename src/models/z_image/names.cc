#include "models/z_image/names.h"

#include <array>
#include <string>
#include <utility>

#include "models/parameter_list.h"

namespace velatura::models::z_image {

namespace {

using Pair = std::pair<const char*, const char*>;

/// The first and last layers are kept by patch size and frames' patch size: 2-1 is all there is.
constexpr auto kOuter = std::to_array<Pair>({
    {"all_x_embedder.2-1.weight", "x_embedder.weight"},
    {"all_x_embedder.2-1.bias", "x_embedder.bias"},
    {"all_final_layer.2-1.linear.weight", "final_layer.linear.weight"},
    {"all_final_layer.2-1.linear.bias", "final_layer.linear.bias"},
    {"all_final_layer.2-1.adaLN_modulation.1.weight", "final_layer.adaLN_modulation.1.weight"},
    {"all_final_layer.2-1.adaLN_modulation.1.bias", "final_layer.adaLN_modulation.1.bias"},
});
constexpr auto kSameOutside = std::to_array<const char*>(
    {"t_embedder.mlp.0.weight", "t_embedder.mlp.0.bias", "t_embedder.mlp.2.weight",
     "t_embedder.mlp.2.bias", "cap_embedder.0.weight", "cap_embedder.1.weight",
     "cap_embedder.1.bias", "x_pad_token", "cap_pad_token"});
constexpr auto kBlock = std::to_array<Pair>({
    {"attention.to_out.0.weight", "attention.out.weight"},
    {"attention.norm_q.weight", "attention.q_norm.weight"},
    {"attention.norm_k.weight", "attention.k_norm.weight"},
});
constexpr auto kSameInBlock = std::to_array<const char*>(
    {"feed_forward.w1.weight", "feed_forward.w2.weight", "feed_forward.w3.weight",
     "attention_norm1.weight", "attention_norm2.weight", "ffn_norm1.weight", "ffn_norm2.weight",
     "adaLN_modulation.0.weight", "adaLN_modulation.0.bias"});

}  // namespace

weights::NameMap native_names(std::span<const weights::TensorInfo> canonical) {
  const ParameterList parameters(canonical);
  weights::NameMap rows;
  for (const auto& [ours, theirs] : kOuter) parameters.add(rows, ours, theirs);
  for (const char* same : kSameOutside) parameters.add(rows, same, same);
  for (const std::string stack : {"noise_refiner.", "context_refiner.", "layers."}) {
    const int blocks = parameters.count(stack);
    for (int i = 0; i < blocks; ++i) {
      const std::string block = stack + std::to_string(i) + ".";
      const std::string attention = block + "attention.";
      const std::array names = {attention + "to_q", attention + "to_k", attention + "to_v"};
      parameters.add_fused(rows, names, ".weight", attention + "qkv.weight");
      for (const auto& [ours, theirs] : kBlock) parameters.add(rows, block + ours, block + theirs);
      for (const char* same : kSameInBlock) parameters.add(rows, block + same, block + same);
    }
  }
  return rows;
}

}  // namespace velatura::models::z_image
