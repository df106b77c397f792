// How files spell the tiny codec's tensors. Canonical names are diffusers' AutoencoderTiny
// ("decoder.layers.0.weight").
#pragma once

#include "weights/name_map.h"
#include "weights/source.h"

namespace velatura::models::autoencoder_tiny {

/// Rows for what `source` holds: diffusers' names, taesd_encoder / taesd_decoder files of the
/// author (github.com/madebyollin/taesd: bare numbers), and both halves in one file under
/// "taesd_encoder." and "taesd_decoder.". The author counts the decoder's clamp, which diffusers
/// leaves outside, as layer 0. Empty where the source is nothing of the kind.
weights::NameMap names(const weights::Source& source);

}  // namespace velatura::models::autoencoder_tiny
