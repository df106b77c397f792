#include "models/clip/config.h"

#include "models/config_reader.h"

namespace velatura::models::clip {

ClipTextConfig ClipTextConfig::from_json(std::string_view text) {
  const ConfigReader reader(text, "text_encoder config.json");
  reader.expect_text("model_type", {"clip_text_model"});
  reader.expect_text("hidden_act", {"quick_gelu", "gelu"});
  ClipTextConfig config;  // the fallbacks are those of transformers' CLIPTextConfig
  config.vocabulary = reader.count("vocab_size", 49408);
  config.positions = reader.count("max_position_embeddings", 77);
  config.width = reader.count("hidden_size", 512);
  config.feed_forward_width = reader.count("intermediate_size", 2048);
  config.layers = reader.count("num_hidden_layers", 12);
  config.heads = reader.count("num_attention_heads", 8);
  config.activation = reader.text("hidden_act", "quick_gelu") == "gelu"
                          ? ops::Activation::gelu
                          : ops::Activation::quick_gelu;
  config.norm_epsilon = static_cast<float>(reader.number("layer_norm_eps", 1e-5));
  config.end_token = reader.integer("eos_token_id", 49407);
  if (config.width % config.heads != 0)
    reader.wrong("hidden_size", "a multiple of num_attention_heads");
  return config;
}

}  // namespace velatura::models::clip
