#include "lora/bundled_embedding.h"

#include <array>
#include <string_view>

namespace velatura::lora {

using weights::Part;

const std::string* vectors_for(const BundledEmbedding& embedding, Part part) {
  struct Row {
    Part part;
    std::string_view key;
  };
  static constexpr auto kKeys =
      std::to_array<Row>({{Part::clip_l, "clip_l"}, {Part::clip_g, "clip_g"}, {Part::t5, "t5"}});
  for (const Row& row : kKeys) {
    if (row.part != part) continue;
    const auto found = embedding.tensors.find(std::string(row.key));
    if (found != embedding.tensors.end()) return &found->second;
  }
  if (part != Part::clip_l && part != Part::qwen3) return nullptr;
  for (const auto& [key, tensor] : embedding.tensors) {
    if (key.empty() || key == "emb_params" || key.starts_with("string_to_param.")) return &tensor;
  }
  return nullptr;
}

}  // namespace velatura::lora
