#include "models/manifest.h"

#include <zlib.h>

#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "embedded/manifest_clip_g.h"
#include "embedded/manifest_clip_g_openclip_native.h"
#include "embedded/manifest_clip_l.h"
#include "embedded/manifest_flux_dev_transformer_diffusers.h"
#include "embedded/manifest_flux_dev_transformer_native.h"
#include "embedded/manifest_flux_schnell_transformer_diffusers.h"
#include "embedded/manifest_kl4_vae_diffusers.h"
#include "embedded/manifest_kl4_vae_native.h"
#include "embedded/manifest_qwen3_4b.h"
#include "embedded/manifest_sd15_unet_diffusers.h"
#include "embedded/manifest_sd15_unet_native.h"
#include "embedded/manifest_sdxl_unet_diffusers.h"
#include "embedded/manifest_sdxl_unet_native.h"
#include "embedded/manifest_t5xxl.h"
#include "embedded/manifest_zimage_transformer_diffusers.h"
#include "embedded/manifest_zimage_transformer_native.h"

namespace velatura::models {

namespace {

struct Row {
  std::string_view name;
  std::string_view (*data)();
};

constexpr auto kManifests = std::to_array<Row>({
    {"clip_g", embedded::manifest_clip_g},
    {"clip_g.openclip.native", embedded::manifest_clip_g_openclip_native},
    {"clip_l", embedded::manifest_clip_l},
    {"flux_dev.transformer.diffusers", embedded::manifest_flux_dev_transformer_diffusers},
    {"flux_dev.transformer.native", embedded::manifest_flux_dev_transformer_native},
    {"flux_schnell.transformer.diffusers", embedded::manifest_flux_schnell_transformer_diffusers},
    {"kl4.vae.diffusers", embedded::manifest_kl4_vae_diffusers},
    {"kl4.vae.native", embedded::manifest_kl4_vae_native},
    {"qwen3_4b", embedded::manifest_qwen3_4b},
    {"sd15.unet.diffusers", embedded::manifest_sd15_unet_diffusers},
    {"sd15.unet.native", embedded::manifest_sd15_unet_native},
    {"sdxl.unet.diffusers", embedded::manifest_sdxl_unet_diffusers},
    {"sdxl.unet.native", embedded::manifest_sdxl_unet_native},
    {"t5xxl", embedded::manifest_t5xxl},
    {"zimage.transformer.diffusers", embedded::manifest_zimage_transformer_diffusers},
    {"zimage.transformer.native", embedded::manifest_zimage_transformer_native},
});

std::string inflate_gzip(std::string_view packed) {
  z_stream stream{};
  constexpr int kGzip = 16 + MAX_WBITS;
  VELATURA_CHECK(inflateInit2(&stream, kGzip) == Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  std::string text;
  std::array<char, 16384> block{};
  int code = Z_OK;
  while (code == Z_OK) {
    stream.next_out = reinterpret_cast<Bytef*>(block.data());
    stream.avail_out = static_cast<uInt>(block.size());
    code = inflate(&stream, Z_NO_FLUSH);
    text.append(block.data(), block.size() - stream.avail_out);
  }
  inflateEnd(&stream);
  VELATURA_CHECK(code == Z_STREAM_END);
  return text;
}

}  // namespace

std::vector<weights::TensorInfo> manifest(std::string_view name) {
  for (const Row& row : kManifests) {
    if (row.name != name) continue;
    std::vector<weights::TensorInfo> tensors;
    const auto json = nlohmann::ordered_json::parse(inflate_gzip(row.data()));
    for (const auto& [tensor, extents] : json.items()) {
      tensors.push_back({tensor, Shape(extents.get<std::vector<std::int64_t>>()), DType::f16});
    }
    return tensors;
  }
  fail(ErrorKind::not_found, "there is no manifest \"{}\"", name);
}

}  // namespace velatura::models
