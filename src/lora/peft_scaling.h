// The scale that a PEFT or diffusers file states outside its tensors: LoraConfig's fields, in
// adapter_config.json beside the file or in its header (lora-formats §4.6).
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

/// LoraConfig's fields that decide the scale. Immutable once read.
struct PeftScaling {
  double alpha = 8;              ///< lora_alpha; 8 is LoraConfig's own default
  bool rank_stabilised = false;  ///< scale α/√r instead of α/r (Kalajdzievski 2023)
  /// Of module names, in the configuration's order: the first that matches gives α.
  std::vector<std::pair<std::regex, double>> alpha_pattern;

  /// The factor of the module at the canonical path `module` with rank `rank`.
  double factor(std::string_view module, std::int64_t rank) const;
  /// The same values always give the same text: part of an adapter's identity.
  std::string text;
};

/// One configuration, adapter_config.json. `where` names it in errors: bad_file where it is no
/// LoraConfig, unsupported for a pattern whose matching could take exponential time.
PeftScaling parse_peft_config(std::string_view json, const std::string& where);

/// diffusers' "lora_adapter_metadata": fields named "<component>.<field>", one configuration a
/// component. Errors as above.
std::map<std::string, PeftScaling, std::less<>> parse_peft_metadata(std::string_view json,
                                                                    const std::string& where);

/// A single number under "alpha" in a header, as one producer writes it; nullopt for anything else.
std::optional<PeftScaling> parse_header_alpha(std::string_view json);

}  // namespace velatura::lora
