// Where in a model an adapter acts: lists, presets, patterns and elemental rules of the extension
// sd-webui-lora-block-weight (lora-formats §1.21), as a factor for every layer. Not here: when it
// acts (schedule.h), how a factor is applied (apply/).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lora/bind/component.h"

namespace velatura::lora {

/// By component, by layer. An empty inner list: 1 everywhere.
using ModelFactors = std::vector<std::vector<float>>;

/// The blocks of a model, from its modules' native names: of UNets BASE (the text encoders), IN00
/// …, M00, OUT00 … by LDM's numbers; of FLUX.1 CLIP, T5, IN, D00 …, S00 …, OUT; of Z-Image TE, IN,
/// NR00 …, CR00 …, L00 …, OUT. Immutable, thread-safe.
class ModelBlocks {
 public:
  explicit ModelBlocks(std::span<const Component> components);

  /// All of the model's blocks, in the order of lists.
  const std::vector<std::string>& names() const { return names_; }
  /// The lists that the family takes, each as the blocks that its values belong to: of this model
  /// all blocks, and of a UNet those with attention; and those of the published sizes, whose blocks
  /// this model may lack.
  const std::vector<std::vector<std::string>>& lists() const { return lists_; }
  bool is_unet() const { return is_unet_; }

  struct Module {
    std::string_view component, path;  ///< "unet", canonical path
    std::string native;                ///< the other naming's path; empty where there is none
    std::string block;                 ///< empty: a UNet's way out, which no list covers
  };
  /// Of a component, by LayerId. Names point into the components, which outlive this.
  const std::vector<Module>& modules(std::size_t component) const { return modules_.at(component); }
  std::size_t components() const { return modules_.size(); }

 private:
  std::vector<std::string> names_;
  std::vector<std::vector<std::string>> lists_;
  std::vector<std::vector<Module>> modules_;
  bool is_unet_ = true;
};

/// Named lists and named elemental rules. The built-in ones are always there; a file may redefine
/// them.
class BlockPresets {
 public:
  /// Lines "NAME:v,v,…" and "NAME:blocks:elements:weight" (several of one name are one set of
  /// rules); '#' begins a comment. Throws bad_file naming `source` and the line.
  void read(std::string_view text, std::string_view source);

  const std::string* list(std::string_view name) const;      ///< by name, case aside
  const std::string* elements(std::string_view name) const;  ///< as elemental rules are written
  std::vector<std::string> list_names() const;
  std::vector<std::string> element_names() const;

 private:
  std::map<std::string, std::string, std::less<>> lists_, elements_;
};

/// What X, R and U stand for.
struct BlockVariables {
  std::optional<double> x;
  std::uint64_t seed = 0;  ///< of the request
  std::string_view salt;   ///< of the adapter, its content's hash: others draw other numbers
};

/// `blocks` with presets of files and the letters X (the given value), R (0 to 1) and U (−0.5 to
/// 1.5, both to three decimals; each with +n or -n behind) replaced by numbers: the same seed gives
/// the same. Throws invalid_argument; for an unknown preset with the three nearest.
std::string settle_blocks(std::string_view blocks, const BlockPresets& presets,
                          const BlockVariables& variables);
/// `elements` with a preset's name replaced by its rules.
std::string settle_elements(std::string_view elements, const BlockPresets& presets);

/// `blocks` is a comma-separated text of settled items: one preset or a list of numbers, then
/// patterns "name=weight". A list gives every block its weight, and 0 to blocks that it does not
/// cover. Then patterns, in order: `name` with * and ? is compared with a module's block, canonical
/// path, "<component>.<path>" and native path, and the weight replaces the module's. Then
/// `elements`, rules "blocks|elements|weight" separated by ',' or line ends: `blocks` are names or
/// parts of names and ranges IN05-OUT05, `elements` parts of the module's path, both separated by
/// blanks, NOT first inverts, empty is all. Empty texts change nothing. Throws invalid_argument: a
/// list of a length that the family does not take (naming those it does), a pattern that matches
/// nothing, malformed items.
ModelFactors block_factors(const ModelBlocks& model, std::string_view blocks,
                           std::string_view elements);

}  // namespace velatura::lora
