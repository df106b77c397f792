#include "models/autoencoder_tiny/config.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "models/config_reader.h"

namespace velatura::models::autoencoder_tiny {

namespace {

constexpr int kMostStages = 16;

/// The one width of a codec; diffusers' class would take several, but its residual blocks fit only
/// where all agree.
int width_of(const ConfigReader& reader, std::string_view field) {
  const std::vector<int> widths = reader.counts(field, {64, 64, 64, 64});
  if (std::any_of(widths.begin(), widths.end(),
                  [&](int width) { return width != widths.front(); })) {
    reader.wrong(field, "the same width in every stage");
  }
  return widths.front();
}

/// Counts the residual blocks between the plain convolutions of `half` ("encoder", "decoder"). The
/// decoder's stages begin behind its first convolution and activation and end at a parameter-free
/// upsampling followed by a convolution; the encoder's begin at a convolution.
std::vector<int> stages_of(const weights::Source& source, const std::string& half, int first,
                           bool upsampling) {
  const auto has = [&](int layer, const char* name) {
    return source.find(half + ".layers." + std::to_string(layer) + name) != nullptr;
  };
  std::vector<int> stages;
  int layer = first;
  while (stages.size() < kMostStages) {
    int blocks = 0;
    for (; has(layer, ".conv.0.weight"); ++layer) ++blocks;
    if (blocks == 0) break;
    stages.push_back(blocks);
    const int next = layer + (upsampling ? 1 : 0);
    if (!has(next, ".weight") || (!upsampling && has(next, ".bias"))) break;
    layer = next + 1;
  }
  return stages;
}

}  // namespace

AutoencoderTinyConfig AutoencoderTinyConfig::from_json(std::string_view text) {
  const ConfigReader reader(text, "vae config.json");
  reader.expect_text("_class_name", {"AutoencoderTiny"});
  reader.expect_text("act_fn", {"relu"});
  reader.expect_text("upsample_fn", {"nearest"});
  reader.expect_number("upsampling_scaling_factor", 2);
  reader.expect_number("scaling_factor", 1);
  reader.expect_number("shift_factor", 0);
  AutoencoderTinyConfig config;
  config.picture_channels = reader.count("in_channels", 3);
  if (reader.count("out_channels", 3) != config.picture_channels)
    reader.wrong("out_channels", "the same as in_channels");
  config.latent_channels = reader.count("latent_channels", 4);
  config.width = width_of(reader, "encoder_block_out_channels");
  if (width_of(reader, "decoder_block_out_channels") != config.width) {
    reader.wrong("decoder_block_out_channels", "the encoder's width");
  }
  config.encoder_blocks = reader.counts("num_encoder_blocks", {1, 3, 3, 3});
  config.decoder_blocks = reader.counts("num_decoder_blocks", {3, 3, 3, 1});
  if (config.encoder_blocks.size() > kMostStages)
    reader.wrong("num_encoder_blocks", "at most 16 stages");
  if (config.decoder_blocks.size() != config.encoder_blocks.size()) {
    reader.wrong("num_decoder_blocks", "as many stages as the encoder has");
  }
  return config;
}

AutoencoderTinyConfig AutoencoderTinyConfig::detect(const weights::Source& source) {
  const weights::TensorInfo* decoder = source.find("decoder.layers.0.weight");
  const weights::TensorInfo* encoder = source.find("encoder.layers.0.weight");
  for (const weights::TensorInfo* first : {decoder, encoder}) {
    if (first != nullptr && first->shape.rank() != 4) {
      fail(ErrorKind::bad_file, "\"{}\": tensor \"{}\" has shape {}, expected a 3×3 convolution",
           source.description(), first->name, first->shape.to_string());
    }
  }
  AutoencoderTinyConfig config;
  config.encoder_blocks = stages_of(source, "encoder", 1, false);
  config.decoder_blocks = stages_of(source, "decoder", 2, true);
  if (decoder != nullptr && !config.decoder_blocks.empty()) {
    config.width = static_cast<int>(decoder->shape[0]);
    config.latent_channels = static_cast<int>(decoder->shape[1]);
  } else if (encoder != nullptr && !config.encoder_blocks.empty()) {
    config.width = static_cast<int>(encoder->shape[0]);
    config.picture_channels = static_cast<int>(encoder->shape[1]);
  } else {
    fail(ErrorKind::bad_file,
         "\"{}\": neither an encoder nor a decoder of a tiny codec (TAESD) was found",
         source.description());
  }
  return config;
}

int AutoencoderTinyConfig::factor() const {
  return 1 << (std::max(encoder_blocks.size(), decoder_blocks.size()) - 1);
}

}  // namespace velatura::models::autoencoder_tiny
