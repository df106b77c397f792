// A loaded text-to-image model: its parts, and the data that a family brings along. Const once
// loaded, shared by jobs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "diffusion/noise_schedule.h"
#include "lora/bind/names.h"
#include "models/clip/text_encoder.h"
#include "models/unet/unet.h"
#include "nn/model.h"
#include "pipelines/picture_codec.h"
#include "tokenizers/clip_bpe/clip_bpe.h"

namespace velatura::pipelines {

struct DiffusionModel {
  std::string name;  ///< for people: the file's stem or the folder's name
  std::shared_ptr<const nn::Model<models::clip::TextEncoder>> text_encoder;
  std::shared_ptr<const nn::Model<models::unet::UNet>> unet;
  std::shared_ptr<const PictureCodec> codec;
  tokenizers::ClipBpe tokenizer;
  diffusion::NoiseScheduleConfig
      noise;               ///< betas and prediction type, from the model's configuration
  int default_side = 512;  ///< pixels
  double default_cfg = 7;
  std::vector<std::string> notes;  ///< what loading wants said: unused tensors, buffers recognised

  /// The parts that adapters can change, in the order of kUNetComponent and kTextComponent.
  std::vector<lora::Component> components;
  std::shared_ptr<const lora::NameIndex> names;  ///< over `components`
  static constexpr std::size_t kUNetComponent = 0;
  static constexpr std::size_t kTextComponent = 1;
};

}  // namespace velatura::pipelines
