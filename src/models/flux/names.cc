#include "models/flux/names.h"

#include <array>
#include <string>
#include <utility>

#include "models/parameter_list.h"

namespace velatura::models::flux {

namespace {

using Pair = std::pair<const char*, const char*>;

/// Layers, canonical and native. All have the same rows in both.
constexpr auto kOuter = std::to_array<Pair>({
    {"x_embedder", "img_in"},
    {"context_embedder", "txt_in"},
    {"time_text_embed.timestep_embedder.linear_1", "time_in.in_layer"},
    {"time_text_embed.timestep_embedder.linear_2", "time_in.out_layer"},
    {"time_text_embed.text_embedder.linear_1", "vector_in.in_layer"},
    {"time_text_embed.text_embedder.linear_2", "vector_in.out_layer"},
    {"time_text_embed.guidance_embedder.linear_1", "guidance_in.in_layer"},
    {"time_text_embed.guidance_embedder.linear_2", "guidance_in.out_layer"},
    {"proj_out", "final_layer.linear"},
});
constexpr auto kDouble = std::to_array<Pair>({
    {"norm1.linear", "img_mod.lin"},
    {"norm1_context.linear", "txt_mod.lin"},
    {"attn.to_out.0", "img_attn.proj"},
    {"attn.to_add_out", "txt_attn.proj"},
    {"ff.net.0.proj", "img_mlp.0"},
    {"ff.net.2", "img_mlp.2"},
    {"ff_context.net.0.proj", "txt_mlp.0"},
    {"ff_context.net.2", "txt_mlp.2"},
});
constexpr auto kDoubleNorms = std::to_array<Pair>({
    {"attn.norm_q", "img_attn.norm.query_norm"},
    {"attn.norm_k", "img_attn.norm.key_norm"},
    {"attn.norm_added_q", "txt_attn.norm.query_norm"},
    {"attn.norm_added_k", "txt_attn.norm.key_norm"},
});
constexpr auto kSingle = std::to_array<Pair>({
    {"norm.linear", "modulation.lin"},
    {"proj_out", "linear2"},
});
constexpr auto kSingleNorms = std::to_array<Pair>({
    {"attn.norm_q", "norm.query_norm"},
    {"attn.norm_k", "norm.key_norm"},
});

class Rows {
 public:
  explicit Rows(const ParameterList& parameters) : parameters_(parameters) {}

  void layers(const std::string& canonical, const std::string& file, std::span<const Pair> pairs) {
    for (const auto& [ours, theirs] : pairs) {
      for (const char* ending : {".weight", ".bias"})
        parameters_.add(map, canonical + ours + ending, file + theirs + ending);
    }
  }
  /// The authors' RMSNorm calls its weight a scale.
  void norms(const std::string& canonical, const std::string& file, std::span<const Pair> pairs) {
    for (const auto& [ours, theirs] : pairs)
      parameters_.add(map, canonical + ours + ".weight", file + theirs + ".scale");
  }
  void fused(const std::string& canonical, std::initializer_list<const char*> parts,
             const std::string& file) {
    std::vector<std::string> names;
    for (const char* part : parts) names.push_back(canonical + part);
    for (const char* ending : {".weight", ".bias"})
      parameters_.add_fused(map, names, ending, file + ending);
  }

  weights::NameMap map;

 private:
  const ParameterList& parameters_;
};

}  // namespace

weights::NameMap native_names(std::span<const weights::TensorInfo> canonical) {
  const ParameterList parameters(canonical);
  Rows rows(parameters);
  rows.layers("", "", kOuter);
  const int doubles = parameters.count("transformer_blocks.");
  for (int i = 0; i < doubles; ++i) {
    const std::string ours = "transformer_blocks." + std::to_string(i) + ".";
    const std::string theirs = "double_blocks." + std::to_string(i) + ".";
    rows.layers(ours, theirs, kDouble);
    rows.norms(ours, theirs, kDoubleNorms);
    rows.fused(ours + "attn.", {"to_q", "to_k", "to_v"}, theirs + "img_attn.qkv");
    rows.fused(ours + "attn.", {"add_q_proj", "add_k_proj", "add_v_proj"}, theirs + "txt_attn.qkv");
  }
  const int singles = parameters.count("single_transformer_blocks.");
  for (int i = 0; i < singles; ++i) {
    const std::string ours = "single_transformer_blocks." + std::to_string(i) + ".";
    const std::string theirs = "single_blocks." + std::to_string(i) + ".";
    rows.layers(ours, theirs, kSingle);
    rows.norms(ours, theirs, kSingleNorms);
    rows.fused(ours, {"attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"}, theirs + "linear1");
  }
  // The authors' last modulation is (shift, scale), diffusers' (scale, shift):
  // diffusers scripts/convert_flux_to_diffusers.py, swap_scale_shift.
  for (const char* ending : {".weight", ".bias"}) {
    const std::string ours = std::string("norm_out.linear") + ending;
    if (!parameters.has(ours)) continue;
    rows.map.push_back({.canonical = ours,
                        .file = std::string("final_layer.adaLN_modulation.1") + ending,
                        .halves_swapped = true});
  }
  return std::move(rows.map);
}

}  // namespace velatura::models::flux
