// The end of a tensor's name in an adapter file: what says which part of which module it is. Not
// here: what module names mean on a model (dialects/).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace velatura::lora {

/// What a tensor does in its module. The spellings stand in the table of suffix.cc.
enum class Role {
  down,
  up,
  down_transposed,  ///< [in, r] (MLX)
  up_transposed,    ///< [r, out]
  mid,
  alpha,
  scale,
  scalar,
  down_bias,
  up_bias,
  dora_scale,
  magnitude_vector,  ///< PEFT's: always over output rows
  hada_w1_a,
  hada_w1_b,
  hada_w2_a,
  hada_w2_b,
  hada_t1,
  hada_t2,
  lokr_w1,
  lokr_w1_a,
  lokr_w1_b,
  lokr_w2,
  lokr_w2_a,
  lokr_w2_b,
  lokr_t1,
  lokr_t2,
  glora_a1,
  glora_a2,
  glora_b1,
  glora_b2,
  glora_bm,
  ia3,
  ia3_on_input,
  oft_blocks,
  oft_list,  ///< oft_blocks.N, one a slice: FileModule::numbered
  oft_diag,
  oft_r,
  oft_scaled,
  rescale,
  diff,
  diff_b,
  norm_w,
  norm_b,
  set_weight,
  reshape_weight,
  sparse_indices,
  sparse_values,
  sparse_size,
  set_bias,  ///< of no suffix: a whole bias under the parameter's own name
  tlora_q,
  tlora_p,
  tlora_lambda,
  tlora_base_q,  ///< what training began with: the change is counted from it
  tlora_base_p,
  tlora_base_lambda,
};
std::string_view to_string(Role role);
/// Whether the tensor is for the layer's bias.
bool acts_on_bias(Role role);

/// A tensor name split: "lora_unet_…_to_q" and down, say.
struct SplitName {
  std::string module;
  Role role;
  int number = -1;  ///< of an oft_list
};
/// The longest suffix that the grammar knows; nullopt for a name that is no adapter tensor. Parts
/// that PEFT leaves behind (without_peft_parts) are not in the module's name.
std::optional<SplitName> split_name(std::string_view tensor);

/// `tensor` without "default" and "modules_to_save" where they stand between dots: the name of an
/// adapter and the place of a whole parameter, as PEFT keeps them in memory.
std::string without_peft_parts(std::string_view tensor);

}  // namespace velatura::lora
