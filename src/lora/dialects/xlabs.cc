// XLabs' trainer for FLUX.1: adapters as attention processors. 1 is the picture's stream, 2 the
// text's; a single block's qkv covers the first three slices of linear1 (lora-formats §2.5).
#include <array>

#include "lora/dialects/dialect.h"

namespace velatura::lora {

namespace {

struct Row {
  std::string_view native;   ///< the end of the native name
  std::string_view spelled;  ///< what stands after "processor." without the suffix
  int slices;                ///< of the fused module that it covers; 0: the module
};
constexpr auto kRows = std::to_array<Row>({
    {".img_attn.qkv", "qkv_lora1", 0},
    {".txt_attn.qkv", "qkv_lora2", 0},
    {".img_attn.proj", "proj_lora1", 0},
    {".txt_attn.proj", "proj_lora2", 0},
    {".linear1", "qkv", 3},
    {".linear2", "proj", 0},
});

}  // namespace

void add_xlabs_aliases(const ModuleNames& module, const Aliases& aliases) {
  if (module.part != weights::Part::flux) return;
  for (const Row& row : kRows) {
    if (!module.native.ends_with(row.native)) continue;
    const std::string block = module.native.substr(0, module.native.size() - row.native.size());
    for (const char* prefix : {"", "diffusion_model.", "transformer."}) {
      std::string alias = prefix + block + ".processor." + std::string(row.spelled);
      if (row.slices == 0) {
        aliases.add(std::move(alias));
      } else if (module.slices > row.slices) {
        aliases.add_slices(std::move(alias), 0, row.slices);
      }
    }
  }
}

}  // namespace velatura::lora
