#include "models/rrdbnet/config.h"

#include <string>

#include "base/error.h"

namespace velatura::models::rrdbnet {

namespace {

constexpr int kMostDoublings =
    5;  // a picture of 1 pixel becomes 32: beyond that a file is not an upscaler

Shape shape_of(const weights::Source& source, const std::string& name) {
  const weights::TensorInfo* info = source.find(name);
  if (info == nullptr) {
    fail(ErrorKind::bad_file, "\"{}\": tensor \"{}\" of an RRDBNet upscaler is missing",
         source.description(), name);
  }
  if (info->shape.rank() != 4) {
    fail(ErrorKind::bad_file, "\"{}\": tensor \"{}\" has shape {}, expected a convolution",
         source.description(), name, info->shape.to_string());
  }
  return info->shape;
}

}  // namespace

RrdbNetConfig RrdbNetConfig::detect(const weights::Source& source) {
  const Shape first = shape_of(source, "conv_first.weight");
  const Shape last = shape_of(source, "conv_last.weight");
  const Shape dense = shape_of(source, "body.0.rdb1.conv1.weight");
  if (first[1] != last[0]) {
    fail(ErrorKind::unsupported,
         "\"{}\": an RRDBNet that takes {} channels and gives {} works on unshuffled pictures, "
         "which is not supported",
         source.description(), first[1], last[0]);
  }
  RrdbNetConfig config;
  config.picture_channels = static_cast<int>(last[0]);
  config.features = static_cast<int>(first[0]);
  config.growth = static_cast<int>(dense[0]);
  config.blocks = 0;
  while (source.find("body." + std::to_string(config.blocks) + ".rdb1.conv1.weight") != nullptr)
    ++config.blocks;
  config.doublings = 0;
  while (source.find("conv_up" + std::to_string(config.doublings + 1) + ".weight") != nullptr)
    ++config.doublings;
  if (config.doublings > kMostDoublings) {
    fail(ErrorKind::bad_file, "\"{}\": {} upsampling convolutions; at most {} make sense",
         source.description(), config.doublings, kMostDoublings);
  }
  return config;
}

}  // namespace velatura::models::rrdbnet
