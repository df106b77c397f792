#include "weights/part_files.h"

#include <array>
#include <string_view>

#include "base/error.h"
#include "base/text_file.h"

namespace velatura::weights {

namespace {

constexpr auto kStems =
    std::to_array<std::string_view>({"diffusion_pytorch_model", "model", "pytorch_model"});
constexpr auto kEndings = std::to_array<std::string_view>(
    {".safetensors", ".safetensors.index.json", ".fp16.safetensors", ".non_ema.safetensors", ".bin",
     ".bin.index.json", ".fp16.bin"});

}  // namespace

std::filesystem::path find_part_weights(const std::filesystem::path& folder) {
  for (const std::string_view ending : kEndings) {
    for (const std::string_view stem : kStems) {
      std::filesystem::path path = folder / stem;
      path += ending;
      if (is_file(path)) return path;
    }
  }
  fail(ErrorKind::not_found,
       "\"{}\" has no weights; model.safetensors, diffusion_pytorch_model.safetensors or their "
       ".bin and sharded forms are expected",
       folder.string());
}

}  // namespace velatura::weights
