// What a PEFT or diffusers file states outside its tensors: the fields of LoraConfig that decide
// the scale and those of OFTConfig that decide the rotation, in adapter_config.json beside the file
// or in its header (lora-formats §1.10, §4.6).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <regex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace velatura::lora {

/// OFTConfig's fields that decide how a rotation is made of oft_R (PEFT's tuners/oft/layer.py).
struct PeftRotation {
  bool is_series = true;  ///< use_cayley_neumann: a cut series stands for the Cayley transform
  int terms = 5;          ///< num_cayley_neumann_terms, 1 … kMostTerms
  /// coft: Q of every stored block is held within eps / √(stored blocks) in the Frobenius norm.
  bool is_constrained = false;
  double eps = 6e-5;
  static constexpr int kMostTerms = 64;
};

/// The fields of one configuration. Immutable once read.
struct PeftScaling {
  double alpha = 8;              ///< lora_alpha; 8 is LoraConfig's own default
  bool rank_stabilised = false;  ///< scale α/√r instead of α/r (Kalajdzievski 2023)
  /// Of module names, in the configuration's order: the first that matches gives α.
  std::vector<std::pair<std::regex, double>> alpha_pattern;
  PeftRotation rotation;

  /// The factor of the module at the canonical path `module` with rank `rank`.
  double factor(std::string_view module, std::int64_t rank) const;
  /// The same values always give the same text: part of an adapter's identity.
  std::string text;
};

/// One configuration, adapter_config.json. `where` names it in errors: bad_file where it is no
/// configuration of PEFT's, unsupported for a pattern whose matching could take exponential time.
PeftScaling parse_peft_config(std::string_view json, const std::string& where);

/// diffusers' "lora_adapter_metadata": fields named "<component>.<field>", one configuration a
/// component. Errors as above.
std::map<std::string, PeftScaling, std::less<>> parse_peft_metadata(std::string_view json,
                                                                    const std::string& where);

/// A single number under "alpha" in a header, as one producer writes it; nullopt for anything else.
std::optional<PeftScaling> parse_header_alpha(std::string_view json);

}  // namespace velatura::lora
