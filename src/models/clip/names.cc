#include "models/clip/names.h"

#include "models/name_rows.h"

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

}  // namespace velatura::models::clip
