#include "models/unet/names.h"

#include <algorithm>

#include "models/name_rows.h"

namespace velatura::models::unet {

namespace {

void add_resnet(const NameRows& rows, int in_channels, int out_channels) {
  rows.layers({{"norm1", "in_layers.0"},
               {"conv1", "in_layers.2"},
               {"time_emb_proj", "emb_layers.1"},
               {"norm2", "out_layers.0"},
               {"conv2", "out_layers.3"}});
  if (in_channels != out_channels) rows.layer("conv_shortcut", "skip_connection");
}

/// Both namings agree inside a spatial transformer.
void add_transformer(const NameRows& rows, int blocks) {
  const auto same = [](const NameRows& at, std::string_view name) { at.layer(name, name); };
  for (const char* name : {"norm", "proj_in", "proj_out"}) same(rows, name);
  for (int i = 0; i < blocks; ++i) {
    const NameRows block = rows.at("transformer_blocks").at(i);
    for (const char* name : {"norm1", "norm2", "norm3", "ff.net.0.proj", "ff.net.2"})
      same(block, name);
    for (const char* attention : {"attn1", "attn2"}) {
      const NameRows inside = block.at(attention);
      for (const char* name : {"to_q", "to_k", "to_v"}) inside.weight(name, name);
      same(inside, "to_out.0");
    }
  }
}

/// LDM numbers the down path through: convolution, then each block's residual layers, then its
/// downsampler.
void add_down_path(const NameRows& rows, const UNetConfig& config) {
  int item = 0;
  rows.layer("conv_in", "input_blocks.0.0");
  int channels = config.block_channels.front();
  for (int i = 0; i < config.blocks(); ++i) {
    const auto block = static_cast<std::size_t>(i);
    const NameRows canonical = rows.at("down_blocks." + std::to_string(i), "input_blocks");
    for (int layer = 0; layer < config.layers[block]; ++layer) {
      const std::string number = std::to_string(++item);
      add_resnet(canonical.at("resnets." + std::to_string(layer), number + ".0"), channels,
                 config.block_channels[block]);
      channels = config.block_channels[block];
      if (config.down_attention[block]) {
        add_transformer(canonical.at("attentions." + std::to_string(layer), number + ".1"),
                        config.transformer_layers[block]);
      }
    }
    if (i + 1 < config.blocks())
      canonical.layer("downsamplers.0.conv", std::to_string(++item) + ".0.op");
  }
}

/// And the up path: each block's residual layers; its upsampler is the last part of the last of
/// them.
void add_up_path(const NameRows& rows, const UNetConfig& config) {
  int item = 0;
  int channels = config.block_channels.back();
  for (int i = 0; i < config.blocks(); ++i) {
    const auto block = static_cast<std::size_t>(i);
    const auto mirror = static_cast<std::size_t>(config.blocks() - 1 - i);
    const int out = config.block_channels[mirror];
    const int last_skip = config.block_channels[mirror == 0 ? 0 : mirror - 1];
    const NameRows canonical = rows.at("up_blocks." + std::to_string(i), "output_blocks");
    for (int layer = 0; layer <= config.layers[mirror]; ++layer) {
      const bool last = layer == config.layers[mirror];
      const std::string number = std::to_string(item++);
      add_resnet(canonical.at("resnets." + std::to_string(layer), number + ".0"),
                 channels + (last ? last_skip : out), out);
      channels = out;
      if (config.up_attention[block]) {
        add_transformer(canonical.at("attentions." + std::to_string(layer), number + ".1"),
                        config.transformer_layers[mirror]);
      }
      if (last && i + 1 < config.blocks()) {
        canonical.layer("upsamplers.0.conv",
                        number + (config.up_attention[block] ? ".2.conv" : ".1.conv"));
      }
    }
  }
}

}  // namespace

weights::NameMap ldm_names(const UNetConfig& config, std::string_view prefix) {
  weights::NameMap map;
  const NameRows rows(map, "", std::string(prefix));
  rows.layers(
      {{"time_embedding.linear_1", "time_embed.0"}, {"time_embedding.linear_2", "time_embed.2"}});
  add_down_path(rows, config);
  const int inner = config.block_channels.back();
  add_resnet(rows.at("mid_block.resnets.0", "middle_block.0"), inner, inner);
  add_transformer(rows.at("mid_block.attentions.0", "middle_block.1"),
                  config.transformer_layers.back());
  add_resnet(rows.at("mid_block.resnets.1", "middle_block.2"), inner, inner);
  add_up_path(rows, config);
  rows.layers({{"conv_norm_out", "out.0"}, {"conv_out", "out.2"}});
  return map;
}

}  // namespace velatura::models::unet
