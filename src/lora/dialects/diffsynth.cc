// DiffSynth-Studio's own names for FLUX.1, a the picture's stream, b the text's, bare or as its
// trainer holds the model ("pipe.dit."); its first version had the projections apart. Told to
// align them, its trainer writes kohya's names instead (DiffSynth-Studio diffsynth/models/
// flux_dit.py, diffsynth/utils/lora/flux.py, diffsynth/diffusion/training_module.py).
#include <array>

#include "lora/dialects/dialect.h"

namespace velatura::lora {

namespace {

struct Row {
  std::string_view theirs;  ///< the end of a dotted name
  std::string_view own;
};

// Their order of the last modulation's halves is the single file's.
constexpr auto kNative = std::to_array<Row>({
    {".img_attn.qkv", ".attn.a_to_qkv"},
    {".txt_attn.qkv", ".attn.b_to_qkv"},
    {".img_attn.proj", ".attn.a_to_out"},
    {".txt_attn.proj", ".attn.b_to_out"},
    {".img_mlp.0", ".ff_a.0"},
    {".img_mlp.2", ".ff_a.2"},
    {".txt_mlp.0", ".ff_b.0"},
    {".txt_mlp.2", ".ff_b.2"},
    {".img_mod.lin", ".norm1_a.linear"},
    {".txt_mod.lin", ".norm1_b.linear"},
    {".linear1", ".to_qkv_mlp"},
    {".linear2", ".proj_out"},
    {".modulation.lin", ".norm.linear"},
    {"final_layer.linear", "final_proj_out"},
    {"final_layer.adaLN_modulation.1", "final_norm_out.linear"},
    {"vector_in.in_layer", "pooled_text_embedder.0"},
    {"vector_in.out_layer", "pooled_text_embedder.2"},
    {"time_in.in_layer", "time_embedder.timestep_embedder.0"},
    {"time_in.out_layer", "time_embedder.timestep_embedder.2"},
    {"guidance_in.in_layer", "guidance_embedder.timestep_embedder.0"},
    {"guidance_in.out_layer", "guidance_embedder.timestep_embedder.2"},
});
constexpr auto kCanonical = std::to_array<Row>({
    {".attn.to_q", ".a_to_q"},
    {".attn.to_k", ".a_to_k"},
    {".attn.to_v", ".a_to_v"},
    {".attn.add_q_proj", ".b_to_q"},
    {".attn.add_k_proj", ".b_to_k"},
    {".attn.add_v_proj", ".b_to_v"},
    {".proj_mlp", ".proj_in_besides_attn"},
});

void add(const Aliases& aliases, const std::string& name) {
  aliases.add(name);
  aliases.add("pipe.dit." + name);
}

}  // namespace

void add_diffsynth_aliases(const ModuleNames& module, const Aliases& aliases) {
  if (module.part != weights::Part::flux) return;
  constexpr std::string_view kDouble = "double_blocks.", kBlocks = "blocks.";
  for (const auto& [theirs, own] : kNative) {
    if (!module.native.ends_with(theirs)) continue;
    std::string block = module.native.substr(0, module.native.size() - theirs.size());
    if (block.starts_with(kDouble)) block.replace(0, kDouble.size(), kBlocks);
    add(aliases, block + std::string(own));
  }
  constexpr std::string_view kDoubles = "transformer_blocks.", kSingles = "single_transformer_";
  for (const auto& [theirs, own] : kCanonical) {
    if (!module.canonical.ends_with(theirs)) continue;
    std::string block = module.canonical.substr(0, module.canonical.size() - theirs.size());
    if (block.starts_with(kDoubles)) {
      // Only these keep the attention as a module of its own.
      add(aliases,
          std::string(kBlocks) + block.substr(kDoubles.size()) + ".attn" + std::string(own));
    } else if (block.starts_with(kSingles)) {
      add(aliases, "single_" + block.substr(kSingles.size()) + std::string(own));
    }
  }
}

}  // namespace velatura::lora
