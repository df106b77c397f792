#include "models/autoencoder_kl/config.h"

#include "base/error.h"
#include "models/config_reader.h"

namespace velatura::models::autoencoder_kl {

namespace {

void expect_blocks(const ConfigReader& reader, std::string_view field, std::string_view type,
                   std::size_t blocks) {
  const std::vector<std::string> found =
      reader.texts(field, std::vector<std::string>(blocks, std::string(type)));
  if (found.size() != blocks) reader.wrong(field, "one type for each block");
  for (const std::string& name : found) {
    if (name != type) {
      fail(ErrorKind::unsupported,
           "vae config.json: \"{}\" has the block type \"{}\", supported is {}", field, name, type);
    }
  }
}

}  // namespace

AutoencoderKlConfig AutoencoderKlConfig::from_json(std::string_view text) {
  const ConfigReader reader(text, "vae config.json");
  reader.expect_text("_class_name", {"AutoencoderKL"});
  reader.expect_text("act_fn", {"silu", "swish"});
  reader.refuse("latents_mean");
  reader.refuse("latents_std");
  AutoencoderKlConfig config;  // the fallbacks are those of diffusers' AutoencoderKL
  config.picture_channels = reader.count("in_channels", 3);
  if (reader.count("out_channels", 3) != config.picture_channels)
    reader.wrong("out_channels", "the same as in_channels");
  config.latent_channels = reader.count("latent_channels", 4);
  config.block_channels = reader.counts("block_out_channels", {64});
  if (config.block_channels.size() > 16) reader.wrong("block_out_channels", "at most 16 blocks");
  expect_blocks(reader, "down_block_types", "DownEncoderBlock2D", config.block_channels.size());
  expect_blocks(reader, "up_block_types", "UpDecoderBlock2D", config.block_channels.size());
  config.layers = reader.count("layers_per_block", 1);
  config.norm_groups = reader.count("norm_num_groups", 32);
  config.mid_attention = reader.boolean("mid_block_add_attention", true);
  config.quant_conv = reader.boolean("use_quant_conv", true);
  config.post_quant_conv = reader.boolean("use_post_quant_conv", true);
  config.scaling_factor = static_cast<float>(reader.number("scaling_factor", 0.18215));
  config.shift_factor = static_cast<float>(reader.number("shift_factor", 0));
  if (config.scaling_factor == 0) reader.wrong("scaling_factor", "a number other than 0");
  for (const int channels : config.block_channels) {
    if (channels % config.norm_groups != 0)
      reader.wrong("block_out_channels", "multiples of norm_num_groups");
  }
  return config;
}

}  // namespace velatura::models::autoencoder_kl
