#include "models/clip/names.h"

#include <array>

#include "models/name_rows.h"
#include "models/parameter_list.h"

namespace velatura::models::clip {

namespace {

void add_text_model(const NameRows& rows, const ClipTextConfig& config) {
  const NameRows embeddings = rows.at("embeddings");
  for (const char* name : {"token_embedding", "position_embedding"}) embeddings.weight(name, name);
  for (int i = 0; i < config.layers; ++i) {
    const NameRows layer = rows.at("encoder.layers").at(i);
    for (const char* name :
         {"layer_norm1", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
          "self_attn.out_proj", "layer_norm2", "mlp.fc1", "mlp.fc2"}) {
      layer.layer(name, name);
    }
  }
  rows.layer("final_layer_norm", "final_layer_norm");
}

}  // namespace

weights::NameMap names(const ClipTextConfig& config, std::string_view prefix) {
  weights::NameMap map;
  const std::string ldm(prefix);
  for (const std::string& spelling :
       {ldm + "text_model.", ldm, std::string("text_model."), std::string()}) {
    add_text_model(NameRows(map, "text_model.", spelling), config);
  }
  return map;
}

weights::NameMap openclip_names(std::span<const weights::TensorInfo> canonical) {
  const ParameterList parameters(canonical);
  weights::NameMap rows;
  parameters.add(rows, "text_model.embeddings.token_embedding.weight", "token_embedding.weight");
  parameters.add(rows, "text_model.embeddings.position_embedding.weight", "positional_embedding");
  const std::string layers = "text_model.encoder.layers.";
  const int count = parameters.count(layers);
  for (int i = 0; i < count; ++i) {
    const std::string ours = layers + std::to_string(i) + ".";
    const std::string theirs = "transformer.resblocks." + std::to_string(i) + ".";
    const std::string attention = ours + "self_attn.";
    const std::array fused = {attention + "q_proj", attention + "k_proj", attention + "v_proj"};
    parameters.add_fused(rows, fused, ".weight", theirs + "attn.in_proj_weight");
    parameters.add_fused(rows, fused, ".bias", theirs + "attn.in_proj_bias");
    for (const auto& [mine, other] : {std::pair{"layer_norm1", "ln_1"},
                                      {"layer_norm2", "ln_2"},
                                      {"self_attn.out_proj", "attn.out_proj"},
                                      {"mlp.fc1", "mlp.c_fc"},
                                      {"mlp.fc2", "mlp.c_proj"}}) {
      for (const char* ending : {".weight", ".bias"})
        parameters.add(rows, ours + mine + ending, theirs + other + ending);
    }
  }
  for (const char* ending : {".weight", ".bias"}) {
    parameters.add(rows, std::string("text_model.final_layer_norm") + ending,
                   std::string("ln_final") + ending);
  }
  if (parameters.has("text_projection.weight")) {
    rows.push_back(
        {.canonical = "text_projection.weight", .file = "text_projection", .transposed = true});
  }
  return rows;
}

}  // namespace velatura::models::clip
