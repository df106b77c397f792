#include "models/autoencoder_kl/names.h"

#include "models/name_rows.h"

namespace velatura::models::autoencoder_kl {

namespace {

void add_resnet(const NameRows& rows, int in_channels, int out_channels) {
  for (const char* name : {"norm1", "conv1", "norm2", "conv2"}) rows.layer(name, name);
  if (in_channels != out_channels) rows.layer("conv_shortcut", "nin_shortcut");
}

void add_mid_block(const NameRows& rows, const AutoencoderKlConfig& config) {
  const int channels = config.block_channels.back();
  add_resnet(rows.at("mid_block.resnets.0", "mid.block_1"), channels, channels);
  if (config.mid_attention) {
    rows.at("mid_block.attentions.0", "mid.attn_1")
        .layers({{"group_norm", "norm"},
                 {"to_q", "q"},
                 {"to_k", "k"},
                 {"to_v", "v"},
                 {"to_out.0", "proj_out"}});
  }
  add_resnet(rows.at("mid_block.resnets.1", "mid.block_2"), channels, channels);
}

void add_ends(const NameRows& rows) {
  rows.layers({{"conv_in", "conv_in"}, {"conv_norm_out", "norm_out"}, {"conv_out", "conv_out"}});
}

void add_encoder(const NameRows& rows, const AutoencoderKlConfig& config) {
  add_ends(rows);
  const int blocks = static_cast<int>(config.block_channels.size());
  int channels = config.block_channels.front();
  for (int i = 0; i < blocks; ++i) {
    const NameRows block = rows.at("down_blocks." + std::to_string(i), "down." + std::to_string(i));
    const int out = config.block_channels[static_cast<std::size_t>(i)];
    for (int layer = 0; layer < config.layers; ++layer) {
      add_resnet(block.at("resnets." + std::to_string(layer), "block." + std::to_string(layer)),
                 channels, out);
      channels = out;
    }
    if (i + 1 < blocks) block.layer("downsamplers.0.conv", "downsample.conv");
  }
  add_mid_block(rows, config);
}

/// LDM counts the decoder's blocks from the full resolution, diffusers from the latent.
void add_decoder(const NameRows& rows, const AutoencoderKlConfig& config) {
  add_ends(rows);
  add_mid_block(rows, config);
  const int blocks = static_cast<int>(config.block_channels.size());
  int channels = config.block_channels.back();
  for (int i = 0; i < blocks; ++i) {
    const int level = blocks - 1 - i;
    const NameRows block = rows.at("up_blocks." + std::to_string(i), "up." + std::to_string(level));
    const int out = config.block_channels[static_cast<std::size_t>(level)];
    for (int layer = 0; layer <= config.layers; ++layer) {
      add_resnet(block.at("resnets." + std::to_string(layer), "block." + std::to_string(layer)),
                 channels, out);
      channels = out;
    }
    if (level > 0) block.layer("upsamplers.0.conv", "upsample.conv");
  }
}

}  // namespace

weights::NameMap ldm_names(const AutoencoderKlConfig& config, std::string_view prefix) {
  weights::NameMap map;
  const NameRows rows(map, "", std::string(prefix));
  add_encoder(rows.at("encoder"), config);
  add_decoder(rows.at("decoder"), config);
  if (config.quant_conv) rows.layer("quant_conv", "quant_conv");
  if (config.post_quant_conv) rows.layer("post_quant_conv", "post_quant_conv");
  return map;
}

weights::NameMap diffusers_names(const AutoencoderKlConfig& config) {
  weights::NameMap map = ldm_names(config);
  for (weights::NameRow& row : map) row.file = row.canonical;
  if (!config.mid_attention) return map;
  for (const char* half : {"encoder", "decoder"}) {
    NameRows(map, "", "")
        .at(half)
        .at("mid_block.attentions.0")
        .layers({{"to_q", "query"}, {"to_k", "key"}, {"to_v", "value"}, {"to_out.0", "proj_attn"}});
  }
  return map;
}

}  // namespace velatura::models::autoencoder_kl
