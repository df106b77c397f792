// Z-Image under the names that other models have for the same layers: "attn.to_q",
// "self_attn.o_proj", "mlp.gate_proj", a modulation without its number (behaviour §2); and as MLX
// programs hold it, whose sequences have ".layers." inside or lack what has no weights
// (mflux models/z_image/model/z_image_transformer, which its trainer's names are of).
#include <array>

#include "lora/dialects/dialect.h"

namespace velatura::lora {

namespace {

struct Other {
  std::string_view own;  ///< the end of either dotted name
  std::string_view other;
};
constexpr auto kOthers = std::to_array<Other>({
    {".attention.to_q", ".attn.to_q"},
    {".attention.to_k", ".attn.to_k"},
    {".attention.to_v", ".attn.to_v"},
    {".attention.to_q", ".attn1.to_q"},
    {".attention.to_k", ".attn1.to_k"},
    {".attention.to_v", ".attn1.to_v"},
    {".attention.to_q", ".self_attn.q_proj"},
    {".attention.to_k", ".self_attn.k_proj"},
    {".attention.to_v", ".self_attn.v_proj"},
    {".attention.to_out.0", ".attn.to_out.0"},
    {".attention.to_out.0", ".attn1.to_out.0"},
    {".attention.to_out.0", ".attention.to_out"},
    {".attention.to_out.0", ".attention.out.0"},
    {".attention.to_out.0", ".self_attn.o_proj"},
    {".attention.qkv", ".attn.qkv"},
    {".feed_forward.w1", ".ff.net.0.proj"},
    {".feed_forward.w1", ".mlp.gate_proj"},
    {".feed_forward.w2", ".ff.net.2"},
    {".feed_forward.w2", ".mlp.down_proj"},
    {".feed_forward.w3", ".mlp.up_proj"},
    {".adaLN_modulation.0", ".adaLN_modulation"},
    {".adaLN_modulation.1", ".adaLN_modulation"},
    {"all_final_layer.2-1.adaLN_modulation.1", "all_final_layer.2-1.adaLN_modulation.0"},
    {".adaLN_modulation.0", ".adaLN_modulation.layers.0"},
    {".adaLN_modulation.1", ".adaLN_modulation.layers.1"},
    {"t_embedder.mlp.0", "t_embedder.linear1"},
    {"t_embedder.mlp.2", "t_embedder.linear2"},
    {"t_embedder.mlp.0", "t_embedder.mlp.layers.0"},
    {"t_embedder.mlp.2", "t_embedder.mlp.layers.2"},
    {"cap_embedder.0", "cap_embedder.layers.0"},
    {"cap_embedder.1", "cap_embedder.layers.1"},
});

}  // namespace

void add_z_image_aliases(const ModuleNames& module, const Aliases& aliases) {
  if (module.part != weights::Part::z_image) return;
  for (const std::string& path : module.both()) {
    for (const auto& [own, other] : kOthers) {
      if (!path.ends_with(own)) continue;
      const std::string name = path.substr(0, path.size() - own.size()) + std::string(other);
      for (const char* prefix :
           {"", "diffusion_model.", "model.diffusion_model.", "transformer.",
            "transformer.diffusion_model.", "base_model.model.", "base_model.model.transformer."})
        aliases.add(prefix + name);
      for (const char* prefix : {"lora_unet_", "lora_unet__", "lora_transformer_", "lycoris_"})
        aliases.add(prefix + flatten(name));
    }
  }
}

}  // namespace velatura::lora
