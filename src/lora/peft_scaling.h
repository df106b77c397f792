// What a PEFT or diffusers file states outside its tensors: the fields of LoraConfig, LoHaConfig
// and LoKrConfig that decide the scale, those of OFTConfig that decide the rotation and the one of
// IA3Config that decides the axis, in adapter_config.json beside the file or in its header
// (lora-formats §1.9, §1.10, §4.6). Not here: how patterns are matched (peft_patterns.h).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lora/peft_patterns.h"

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

/// How PEFT and this program call one module.
struct PeftModule {
  std::string_view
      name;  ///< the file's; what stands before the trained model's own name is dropped
  std::string_view path;  ///< canonical, for files whose names are no trained model's
};

/// IA3Config's feedforward_modules: where the vector multiplies what the layer is given instead of
/// what it gives. A list of names' ends, "." or not before them, or one expression for the whole
/// name (PEFT's tuners/ia3/model.py).
struct PeftFeedforward {
  std::vector<std::string> ends;
  std::optional<NamePattern> expression;

  bool contains(std::string_view trained_name) const;
};

/// The fields of one configuration. Immutable once read.
struct PeftScaling {
  /// lora_alpha; LoHaConfig's and LoKrConfig's is called alpha. 8 is the default of all three.
  double alpha = 8;
  bool rank_stabilised = false;  ///< LoraConfig: scale α/√r instead of α/r (Kalajdzievski 2023)
  PeftPatterns alpha_pattern;    ///< α of single modules
  /// LoKrConfig: the rank that it trained for, overridden by rank_pattern; nullopt for the other
  /// kinds, whose tensors say it.
  std::optional<double> stated_rank;
  PeftPatterns rank_pattern;
  PeftRotation rotation;
  std::optional<PeftFeedforward> feedforward;  ///< nullopt where no IA3Config says it

  /// Whether an (IA)³ vector of the module is for the layer's inputs; nullopt where nothing says.
  std::optional<bool> is_feedforward(const PeftModule& module) const;
  /// The factor of a module with rank `rank` > 0.
  double factor(const PeftModule& module, std::int64_t rank) const;
  /// The factor of a LoKr whose factors are both whole, which no rank stands in; 1 where no
  /// LoKrConfig says otherwise.
  double factor_without_rank(const PeftModule& module) const;
  /// The same values always give the same text: part of an adapter's identity.
  std::string text;
};

/// One configuration, adapter_config.json. `where` names it in errors: bad_file where it is no
/// configuration of PEFT's, and what PeftPatterns throws.
PeftScaling parse_peft_config(std::string_view json, const std::string& where);

/// diffusers' "lora_adapter_metadata": fields named "<component>.<field>", one configuration a
/// component. Errors as above.
std::map<std::string, PeftScaling, std::less<>> parse_peft_metadata(std::string_view json,
                                                                    const std::string& where);

/// A single number under "alpha" in a header, as one producer writes it; nullopt for anything else.
std::optional<PeftScaling> parse_header_alpha(std::string_view json);

}  // namespace velatura::lora
