// The shape of a UNet2DConditionModel. Not here: names of tensors in files (names.h), what a family
// does with the model.
#pragma once

#include <string_view>
#include <vector>

namespace velatura::models::unet {

/// Lists of blocks run from the outermost (full resolution) to the innermost, but for
/// `up_attention`, which runs in the order of the up path: innermost first. The defaults are
/// SD 1.5's.
struct UNetConfig {
  int in_channels = 4;
  int out_channels = 4;
  std::vector<int> block_channels = {320, 640, 1280, 1280};
  std::vector<int> layers = {2, 2, 2,
                             2};  ///< residual blocks of a down block; an up block has one more
  std::vector<bool> down_attention = {true, true, true, false};
  std::vector<bool> up_attention = {false, true, true, true};
  std::vector<int> heads = {8, 8, 8, 8};  ///< attention heads (not their width) of each down block
  std::vector<int> transformer_layers = {
      1, 1, 1, 1};                ///< transformer blocks of each attention of a down block
  int cross_attention_dim = 768;  ///< width of the text's hidden states
  int norm_groups = 32;
  float norm_epsilon = 1e-5f;
  bool linear_projection = false;  ///< proj_in and proj_out are linear layers, not 1×1 convolutions
  bool flip_sin_to_cos = true;     ///< the timestep's embedding is [cos | sin]
  float frequency_shift = 0;
  int time_embedding_dim = 1280;
  int sample_size = 64;  ///< latent extent that the model was trained at

  /// Reads diffusers' config.json of a UNet2DConditionModel, its defaults where a field is absent.
  /// Throws bad_file on what makes no sense, unsupported on variants that are not built (class or
  /// added embeddings, other block types …).
  static UNetConfig from_json(std::string_view text);

  int blocks() const { return static_cast<int>(block_channels.size()); }
  bool operator==(const UNetConfig&) const = default;
};

}  // namespace velatura::models::unet
