#include "models/unet/names.h"

#include <algorithm>

#include "base/error.h"
#include "models/name_rows.h"
#include "models/parameter_list.h"

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

/// The deepest of the transformers `name`.attentions.0, .1 …
int depth(const ParameterList& parameters, const std::string& name) {
  int most = 0;
  for (int i = 0; parameters.has_prefix(name + ".attentions." + std::to_string(i) + "."); ++i) {
    most = std::max(
        most, parameters.count(name + ".attentions." + std::to_string(i) + ".transformer_blocks."));
  }
  return most;
}

/// What names depend on: how many of everything, and where channels change.
UNetConfig layout_of(const ParameterList& parameters) {
  UNetConfig config;
  const int blocks = parameters.count("down_blocks.");
  config.block_channels.clear();
  config.layers.clear();
  config.down_attention.clear();
  config.up_attention.clear();
  config.transformer_layers.clear();
  for (int i = 0; i < blocks; ++i) {
    const std::string down = "down_blocks." + std::to_string(i);
    const std::string up = "up_blocks." + std::to_string(i);
    const std::string mirror = "up_blocks." + std::to_string(blocks - 1 - i);
    const weights::TensorInfo* first = parameters.find(down + ".resnets.0.conv1.weight");
    if (first == nullptr || first->shape.rank() != 4)
      fail(ErrorKind::bad_file, "a UNet's \"{}.resnets.0.conv1.weight\" is missing", down);
    config.block_channels.push_back(
        static_cast<int>(std::min<std::int64_t>(first->shape[0], 1 << 20)));
    config.layers.push_back(parameters.count(down + ".resnets."));
    config.down_attention.push_back(parameters.has_prefix(down + ".attentions."));
    config.up_attention.push_back(parameters.has_prefix(up + ".attentions."));
    config.transformer_layers.push_back(
        std::max(depth(parameters, down), depth(parameters, mirror)));
  }
  if (blocks == 0) fail(ErrorKind::bad_file, "a UNet's \"down_blocks.0\" is missing");
  config.transformer_layers.back() =
      std::max(config.transformer_layers.back(), depth(parameters, "mid_block"));
  return config;
}

/// One uneven attention could make the rows of a layout many times as many as its parameters:
/// refused before they are written.
void check_size(const UNetConfig& config, std::size_t parameters) {
  std::size_t transformer_blocks = static_cast<std::size_t>(config.transformer_layers.back());
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    transformer_blocks += static_cast<std::size_t>(2 * config.layers[i] + 1) *
                          static_cast<std::size_t>(config.transformer_layers[i]);
  }
  if (transformer_blocks > parameters) {
    fail(ErrorKind::bad_file, "a UNet of {} parameters cannot have {} transformer blocks",
         parameters, transformer_blocks);
  }
}

}  // namespace

weights::NameMap native_names(std::span<const weights::TensorInfo> canonical) {
  const ParameterList parameters(canonical);
  const UNetConfig layout = layout_of(parameters);
  check_size(layout, parameters.size());
  weights::NameMap map = ldm_names(layout, "");
  NameRows(map, "", "")
      .layers({{"add_embedding.linear_1", "label_emb.0.0"},
               {"add_embedding.linear_2", "label_emb.0.2"}});
  return parameters.known(std::move(map));
}

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
