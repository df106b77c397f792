#include "lora/suffix.h"

#include <array>
#include <charconv>

namespace velatura::lora {

namespace {

struct Suffix {
  std::string_view text;
  Role role;
  std::size_t kept = 0;  ///< characters at its beginning that belong to the module's name
  std::size_t hole = text.find("{}");  ///< of the word that may be any
};

// A name takes the longest that fits. "{}" stands for one word: the adapter name that PEFT leaves
// in the key (lora_A.default.weight), the number of a block (oft_blocks.3).
constexpr auto kSuffixes = std::to_array<Suffix>({
    {".lora_linear_layer.down.weight", Role::down},
    {".lora_linear_layer.up.weight", Role::up},
    {".lora_magnitude_vector.{}.weight", Role::magnitude_vector},
    {".lora_magnitude_vector.weight", Role::magnitude_vector},
    {".lora_magnitude_vector", Role::magnitude_vector},
    {".dora_scale", Role::dora_scale},
    {".magnitude", Role::dora_scale},
    {".lora_down.weight", Role::down},
    {".lora_up.weight", Role::up},
    {".lora_mid.weight", Role::mid},
    {"_lora_down.weight", Role::down},
    {"_lora_up.weight", Role::up},
    {"_lora.down.weight", Role::down},
    {"_lora.up.weight", Role::up},
    {"_lora1.down.weight", Role::down, 6},  // XLabs: 1 is the picture's, 2 the text's
    {"_lora1.up.weight", Role::up, 6},
    {"_lora2.down.weight", Role::down, 6},
    {"_lora2.up.weight", Role::up, 6},
    {":down", Role::down},  // the first trainer's lists: "unet:0:down"
    {":up", Role::up},
    {".lora.down.weight", Role::down},
    {".lora.up.weight", Role::up},
    {".lora_A.weight", Role::down},
    {".lora_B.weight", Role::up},
    {".lora_A.{}.weight", Role::down},
    {".lora_B.{}.weight", Role::up},
    {".lora_A.bias", Role::down_bias},
    {".lora_B.bias", Role::up_bias},
    {".lora_A.{}.bias", Role::down_bias},
    {".lora_B.{}.bias", Role::up_bias},
    {".lora_down.bias", Role::down_bias},
    {".lora_up.bias", Role::up_bias},
    {".lora_a", Role::down_transposed},
    {".lora_b", Role::up_transposed},
    {".lora_A", Role::down},
    {".lora_B", Role::up},
    {".alpha", Role::alpha},
    {".lora_alpha", Role::alpha},  // SimpleTuner reads both
    {".scale", Role::scale},
    {".scalar", Role::scalar},
    {".hada_w1_a", Role::hada_w1_a},
    {".hada_w1_b", Role::hada_w1_b},
    {".hada_w2_a", Role::hada_w2_a},
    {".hada_w2_b", Role::hada_w2_b},
    {".hada_t1", Role::hada_t1},
    {".hada_t2", Role::hada_t2},
    {".lokr_w1", Role::lokr_w1},
    {".lokr_w1_a", Role::lokr_w1_a},
    {".lokr_w1_b", Role::lokr_w1_b},
    {".lokr_w2", Role::lokr_w2},
    {".lokr_w2_a", Role::lokr_w2_a},
    {".lokr_w2_b", Role::lokr_w2_b},
    {".lokr_t1", Role::lokr_t1},
    {".lokr_t2", Role::lokr_t2},
    {".a1.weight", Role::glora_a1},
    {".a2.weight", Role::glora_a2},
    {".b1.weight", Role::glora_b1},
    {".b2.weight", Role::glora_b2},
    {".bm.weight", Role::glora_bm},
    {".ia3_l", Role::ia3},
    {".ia3_l.weight", Role::ia3},
    {".ia3_l.{}.weight", Role::ia3},
    {".on_input", Role::ia3_on_input},
    {".oft_blocks", Role::oft_blocks},
    {".oft_blocks.{}", Role::oft_list},
    {".oft_R.weight", Role::oft_r},
    {".oft_R.{}.weight", Role::oft_r},
    {".oft_R.scaled_oft", Role::oft_scaled},
    {".oft_diag", Role::oft_diag},
    {".rescale", Role::rescale},
    {".diff", Role::diff},
    {".diff_b", Role::diff_b},
    {".w_norm", Role::norm_w},
    {".b_norm", Role::norm_b},
    {".set_weight", Role::set_weight},
    {".reshape_weight", Role::reshape_weight},
    {".bias_indices", Role::sparse_indices},
    {".bias_values", Role::sparse_values},
    {".bias_size", Role::sparse_size},
    {".q_layer.weight", Role::tlora_q},
    {".p_layer.weight", Role::tlora_p},
    {".lambda_layer", Role::tlora_lambda},
    {".base_q", Role::tlora_base_q},
    {".base_q.weight", Role::tlora_base_q},
    {".base_p", Role::tlora_base_p},
    {".base_p.weight", Role::tlora_base_p},
    {".base_lambda", Role::tlora_base_lambda},
    {"_lora.q_layer.weight", Role::tlora_q},  // in an attention processor
    {"_lora.p_layer.weight", Role::tlora_p},
    {"_lora.lambda_layer", Role::tlora_lambda},
    {"_lora.base_q.weight", Role::tlora_base_q},
    {"_lora.base_p.weight", Role::tlora_base_p},
    {"_lora.base_lambda", Role::tlora_base_lambda},
});

/// Length of `suffix` at the end of `name`, 0 where it is not there. "{}" matches one word without
/// dots.
std::size_t match_suffix(std::string_view name, const Suffix& suffix) {
  const std::string_view text = suffix.text;
  // Told apart by two letters first: collections have millions of names. The dot that most begin
  // with stands in few places.
  if (suffix.hole == std::string_view::npos) {
    const bool may_end = name.size() >= text.size() && name.back() == text.back() &&
                         name[name.size() - text.size()] == text.front();
    return may_end && name.ends_with(text) ? text.size() : 0;
  }
  const std::string_view tail = text.substr(suffix.hole + 2), head = text.substr(0, suffix.hole);
  if (!name.ends_with(tail)) return 0;
  name.remove_suffix(tail.size());
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot + 1 == name.size()) return 0;
  const std::size_t word = name.size() - dot - 1;
  name.remove_suffix(word);
  return name.ends_with(head) ? head.size() + word + tail.size() : 0;
}

}  // namespace

std::string_view to_string(Role role) {
  static constexpr auto kNames = std::to_array<std::string_view>({"down",
                                                                  "up",
                                                                  "down, transposed",
                                                                  "up, transposed",
                                                                  "mid",
                                                                  "alpha",
                                                                  "scale",
                                                                  "scalar",
                                                                  "down bias",
                                                                  "up bias",
                                                                  "DoRA magnitude",
                                                                  "DoRA magnitude vector",
                                                                  "LoHa w1_a",
                                                                  "LoHa w1_b",
                                                                  "LoHa w2_a",
                                                                  "LoHa w2_b",
                                                                  "LoHa t1",
                                                                  "LoHa t2",
                                                                  "LoKr w1",
                                                                  "LoKr w1_a",
                                                                  "LoKr w1_b",
                                                                  "LoKr w2",
                                                                  "LoKr w2_a",
                                                                  "LoKr w2_b",
                                                                  "LoKr t1",
                                                                  "LoKr t2",
                                                                  "GLoRA a1",
                                                                  "GLoRA a2",
                                                                  "GLoRA b1",
                                                                  "GLoRA b2",
                                                                  "GLoRA bm",
                                                                  "(IA)³ vector",
                                                                  "(IA)³ axis",
                                                                  "OFT blocks",
                                                                  "OFT blocks of slices",
                                                                  "OFT diagonal blocks",
                                                                  "OFT v2 rotation",
                                                                  "OFT scaling mark",
                                                                  "OFT rescale",
                                                                  "full difference",
                                                                  "bias difference",
                                                                  "norm difference",
                                                                  "norm bias difference",
                                                                  "set-weight",
                                                                  "reshape-weight",
                                                                  "sparse residual's indices",
                                                                  "sparse residual's values",
                                                                  "sparse residual's size",
                                                                  "set-bias",
                                                                  "T-LoRA Q",
                                                                  "T-LoRA P",
                                                                  "T-LoRA lambda",
                                                                  "T-LoRA base Q",
                                                                  "T-LoRA base P",
                                                                  "T-LoRA base lambda"});
  return kNames.at(static_cast<std::size_t>(role));
}

bool acts_on_bias(Role role) {
  return role == Role::diff_b || role == Role::norm_b || role == Role::up_bias ||
         role == Role::down_bias || role == Role::set_bias;
}

std::string without_peft_parts(std::string_view tensor) {
  std::string name(tensor);
  for (const std::string_view part : {".default", ".modules_to_save", ".base_layer"}) {
    std::size_t at = name.find(part);
    if (at == std::string::npos) continue;
    // Copied piece by piece: a name made to do harm has the part a million times.
    std::string kept;
    std::size_t begin = 0;
    for (; at != std::string::npos; at = name.find(part, at)) {
      const std::size_t end = at + part.size();
      if (end == name.size() || name[end] == '.') {
        kept.append(name, begin, at - begin);
        begin = end;
      }
      at = end;
    }
    kept.append(name, begin);
    name = std::move(kept);
  }
  return name;
}

/// Three times what the longest of published files have. A report names the first of two tensors
/// with one role for each that follows, a million times in a file made to do harm.
constexpr std::size_t kLongestName = 512;

std::optional<SplitName> split_name(std::string_view name) {
  if (name.size() > kLongestName) return std::nullopt;
  const std::string tensor = without_peft_parts(name);
  if (tensor.empty()) return std::nullopt;
  std::size_t best = 0;
  const Suffix* found = nullptr;
  for (const Suffix& suffix : kSuffixes) {
    const std::size_t length = match_suffix(tensor, suffix);
    if (length > best && length < tensor.size()) best = length, found = &suffix;
  }
  if (found == nullptr) return std::nullopt;
  SplitName split{tensor.substr(0, tensor.size() - best + found->kept), found->role};
  if (split.role == Role::oft_list) {
    const std::string_view digits = std::string_view(tensor).substr(tensor.rfind('.') + 1);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), split.number);
    if (error != std::errc() || end != digits.data() + digits.size() || split.number < 0)
      return std::nullopt;
  }
  return split;
}

}  // namespace velatura::lora
