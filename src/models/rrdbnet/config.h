// The shape of an RRDBNet upscaler (ESRGAN, Wang et al. 2018), which its tensors tell entirely. Not
// here: other spellings of its names (names.h).
#pragma once

#include "weights/source.h"

namespace velatura::models::rrdbnet {

/// The defaults are RealESRGAN_x4plus'.
struct RrdbNetConfig {
  int picture_channels = 3;
  int features = 64;
  int growth = 32;    ///< channels that each convolution of a dense block adds
  int blocks = 23;    ///< residual-in-residual dense blocks
  int doublings = 2;  ///< upsampling steps; the picture grows by 2^doublings

  /// From the canonical (Real-ESRGAN's current) names: conv_first, body.N.rdbN.convN, conv_upN,
  /// conv_last. Throws bad_file when they are not there, unsupported for variants that take an
  /// unshuffled picture.
  static RrdbNetConfig detect(const weights::Source& source);

  int scale() const { return 1 << doublings; }
  bool operator==(const RrdbNetConfig&) const = default;
};

}  // namespace velatura::models::rrdbnet
